// `@/watch` and `@/watch-all` as handles: a read gives at most one line, whatever its offset.
#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/recipes/watch.h"

namespace zabfs::fsd {
namespace {

class WatchHandle : public Handle {
 public:
  WatchHandle(Room& room, Control control, const std::string& directory, Opener opener)
      : Handle(room, control, directory, std::move(opener)),
        watch_(room.tree(), directory, control == Control::kWatchAll, may_list()) {
    room.listen(this);
  }

  void read(uint64_t number, size_t size, off_t, bool wait, Answer answer) override {
    if (!is_ready()) return Handle::read(number, size, 0, wait, std::move(answer));
    answer(FileError::kOk, watch_.read(size));
  }

  void published(const std::vector<tree::Change>& changes) override {
    if (watch_.published(room_.tree(), changes)) wake();
  }
  void tree_replaced() override {
    if (watch_.tree_replaced(room_.tree())) wake();
  }
  std::string held() const override {
    std::string name = control_name(control());
    return held_line(name, "@/" + name);
  }

 protected:
  bool is_ready() const override { return watch_.has_line() || watch_.at_end(); }
  bool is_orphan() const override { return false; }  // the feed ends with its directory
  void take(size_t size, Answer answer) override { answer(FileError::kOk, watch_.read(size)); }

 private:
  NodeTest may_list() const {
    if (opener().uid == 0) return nullptr;
    return [this](const tree::ZNode& node, const std::string& path) {
      return room_.allows(node, path, opener(), kMayRead | kMaySearch);
    };
  }

  Watch watch_;
};

}  // namespace

HandlePtr open_watch(Room& room, Control control, const std::string& directory, Opener opener) {
  return std::make_shared<WatchHandle>(room, control, directory, std::move(opener));
}

}  // namespace zabfs::fsd
