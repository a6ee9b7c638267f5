// `@/export`: the directory and what is below it as one stream of records (fsd/transfer/record.h),
// as it was when the file was opened. It needs no quorum, and says how old it is.
#include <algorithm>
#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/transfer/subtree.h"

namespace zabfs::fsd {

namespace {

class ExportHandle : public Handle {
 public:
  ExportHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kExport, directory, std::move(opener)) {}

  void open(Done opened) override {
    const tree::ZNode* node = room_.tree().find(directory());
    if (node == nullptr) return opened(FileError::kStale);
    if (!room_.begin_transfer()) return opened(FileError::kTryAgain);
    counts_ = true;
    subtree_.emplace(room_.tree(), room_.view_options(), this->opener(), directory(),
                     room_.last_change_ms());
    opened(subtree_->is_too_large() ? FileError::kTooLarge : FileError::kOk);
  }

  // What was collected stays, whatever becomes of the directory.
  void read(uint64_t, size_t size, off_t offset, bool, Answer answer) override {
    answer(FileError::kOk,
           subtree_ ? subtree_->read(static_cast<uint64_t>(std::max<off_t>(offset, 0)), size) : "");
  }
  std::string held() const override { return held_line("export", "@/export"); }

 protected:
  bool is_orphan() const override { return false; }
  void take(size_t, Answer answer) override { answer(FileError::kOk, {}); }
  void leave() override {
    subtree_.reset();
    if (std::exchange(counts_, false)) room_.end_transfer();
  }

 private:
  std::optional<Subtree> subtree_;
  bool counts_ = false;
};

}  // namespace

HandlePtr open_export(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<ExportHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
