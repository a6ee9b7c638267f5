// `@/snapshot`: reading it makes this node write a snapshot of what it has, by the way it writes
// them anyway, and answers once that is on the disk. With a leader or without.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "fsd/recipes/handles.h"

namespace zabfs::fsd {

namespace {

class SnapshotHandle : public Handle {
 public:
  using Handle::Handle;

  void open(Done opened) override {
    opened(opener().uid == 0 ? FileError::kOk : FileError::kNotPermitted);
  }

 protected:
  void take(size_t, Answer answer) override {
    room_.service().replica().ask_snapshot(
        [self = shared_from_this(), this,
         answer = std::move(answer)](const StatusOr<consensus::Snapshotter::Stored>& stored) {
          answer(FileError::kOk,
                 stored.ok() ? text(*stored) : fmt::format("refused {}\n", stored.why()));
        });
  }

 private:
  std::string text(const consensus::Snapshotter::Stored& stored) const {
    const consensus::Replica& replica = room_.service().replica();
    const consensus::ZabState& state = replica.zab().state();
    std::string text = fmt::format("zxid 0x{:x}\nnode {}\nepoch {}\nserving {}\n",
                                   stored.zxid.value, replica.config().zab.me.value,
                                   state.accepted_epoch, replica.is_serving() ? "yes" : "no");
    const std::string members = replica.zab().ensemble().text();
    for (size_t at = 0; at < members.size();) {
      size_t end = std::min(members.find('\n', at), members.size());
      text += fmt::format("member {}\n", members.substr(at, end - at));
      at = end + 1;
    }
    return text + fmt::format("file {}\n", stored.path);
  }
};

}  // namespace

HandlePtr open_snapshot(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<SnapshotHandle>(room, Control::kSnapshot, directory, std::move(opener));
}

}  // namespace zabfs::fsd
