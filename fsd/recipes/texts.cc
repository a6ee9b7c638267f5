// Files that show a text: made anew for each read at offset 0.
#include <fmt/format.h>

#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/recipes/help.h"
#include "fsd/recipes/holders.h"

namespace zabfs::fsd {
namespace {

class TextHandle : public Handle {
 public:
  using Handle::Handle;

 protected:
  void take(size_t, Answer answer) override { answer(FileError::kOk, text()); }

 private:
  NodeTest may(uint32_t wanted) const {
    return [this, wanted](const tree::ZNode& node, const std::string& path) {
      return room_.allows(node, path, opener(), wanted);
    };
  }
  std::string text() const {
    if (control() == Control::kHelp) return std::string(kHelpText);
    if (control() == Control::kCluster) return cluster_text(room_);
    if (control() == Control::kHealth) return health_text(room_);
    if (control() == Control::kMetrics) return metrics_text(room_);
    if (control() == Control::kHandles) return room_.handles_text(opener());
    const tree::Tree& tree = room_.tree();
    if (control() == Control::kHolders) {
      return holders_text(tree, directory(), may(kMayRead | kMaySearch), may(kMayRead));
    }
    if (control() == Control::kLock || control() == Control::kReadWriteLock) {
      Queue queue = control() == Control::kLock ? Queue::kMutex : Queue::kReadWrite;
      return LockTable::describe(tree, directory(), queue, may(kMayRead));
    }
    const tree::ZNode* node = tree.find(directory());
    return node == nullptr ? "" : stat_text(tree.stat_of(*node));
  }
};

}  // namespace

HandlePtr open_text(Room& room, Control control, const std::string& directory, Opener opener) {
  return std::make_shared<TextHandle>(room, control, directory, std::move(opener));
}

}  // namespace zabfs::fsd
