// `@/queue`: Curator's SimpleDistributedQueue. Items are DIR/qn-0000000042, their data is the item.
#include <optional>
#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr const char* kItemPrefix = "qn-";

class QueueHandle : public Handle {
 public:
  QueueHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kQueue, directory, std::move(opener)) {
    room.listen(this);
  }

  void write(std::string_view bytes, off_t, bool, Done done) override {
    if (bytes.size() > room_.limits().data_bytes()) return done(FileError::kTooLarge);
    tree::AclList acl = room_.acl_for_made(directory(), opener());
    std::string body = tree::create_body(tree::join_path(directory(), kItemPrefix), bytes, acl,
                                         tree::kCreateSequential);
    room_.writer().when_writable(
        [self = shared_from_this(), this, body = std::move(body), done] {
          room_.writer().commit(OpCode::kCreate2, body, [done](const Outcome& outcome) {
            done(open_file_error_of(outcome.error));
          });
        },
        done);
  }

  void published(const std::vector<tree::Change>& changes) override {
    for (const tree::Change& change : changes) {
      if (is_end_of_directory(change)) return room_.serve(Control::kQueue, directory());
      if (change.type != tree::ChangeType::kCreated) continue;
      if (!is_queue_item(tree::base_name(change.path))) continue;
      if (tree::parent_path(change.path) == directory())
        return room_.serve(Control::kQueue, directory());
    }
  }
  void tree_replaced() override { room_.serve(Control::kQueue, directory()); }

 protected:
  bool is_ready() const override { return oldest().has_value(); }

  void take(size_t, Answer answer) override {
    room_.writer().when_writable([self = shared_from_this(), this, answer] { remove(answer); },
                                 [answer](FileError error) { answer(error, {}); });
  }

 private:
  struct Item {
    std::string path;
    int64_t sequence;
    tree::Zxid czxid;
    tree::Bytes data;
  };

  bool may_take(const View& around, const View& item) const {
    return may(item, opener(), kMayRead) && may_remove(around, item, opener()) == FileError::kOk;
  }

  // The oldest item that no other read of this node is taking, of those that this reader could
  // read and remove by hand.
  std::optional<Item> oldest() const {
    std::optional<Item> found;
    const tree::ZNode* node = room_.tree().find(directory());
    if (node == nullptr) return found;
    View around = room_.view(*node, directory());
    room_.tree().for_each_child(*node, [&](const tree::ZNode& child) {
      std::string_view name = child.name.view();
      if (!is_queue_item(name)) return;
      int64_t sequence = *sequence_of(name);
      if (found && found->sequence <= sequence) return;
      std::string path = tree::join_path(directory(), name);
      if (room_.claimed().contains(path)) return;
      if (!may_take(around, room_.view(child, path))) return;
      found = Item{path, sequence, child.stat.czxid, child.data};
    });
    return found;
  }

  // Whoever removes the znode has the item.
  void remove(const Answer& answer) {
    std::optional<Item> item = oldest();
    if (!item) return answer(FileError::kTryAgain, {});
    room_.claimed().insert(item->path);
    tree::ExtRemove removal{item->path, item->czxid, false};
    auto removed = [self = shared_from_this(), this, item = *item, answer](const Outcome& outcome) {
      room_.claimed().erase(item.path);
      if (outcome.error == Error::kOk) return answer(FileError::kOk, item.data.view());
      if (outcome.error == Error::kNoNode || outcome.error == Error::kStale) return remove(answer);
      answer(file_error_of(outcome.error), {});
    };
    room_.writer().commit(OpCode::kExtRemove, encode(removal), std::move(removed));
  }
};

}  // namespace

HandlePtr open_queue(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<QueueHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
