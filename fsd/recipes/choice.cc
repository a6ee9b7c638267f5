// `@/ring/KEY` and `@/pick`: a child of the directory, by name.
#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/recipes/ring.h"

namespace zabfs::fsd {
namespace {

class RingHandle : public Handle {
 public:
  RingHandle(Room& room, const std::string& directory, std::string key, Opener opener)
      : Handle(room, Control::kRingKey, directory, std::move(opener)), key_(std::move(key)) {}

  void open(Done opened) override {
    opened(choice().empty() ? FileError::kNoEntry : FileError::kOk);
  }

 protected:
  void take(size_t, Answer answer) override {
    std::string name = choice();
    if (name.empty()) return answer(FileError::kNoEntry, {});
    answer(FileError::kOk, name + "\n");
  }

 private:
  std::string choice() const {
    return ring_choice(key_, candidates_of(room_.tree(), directory(), room_.view_options()));
  }
  std::string key_;
};

class PickHandle : public Handle {
 public:
  PickHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kPick, directory, std::move(opener)) {}

  void open(Done opened) override {
    opened(candidates_of(room_.tree(), directory(), room_.view_options()).empty()
               ? FileError::kNoEntry
               : FileError::kOk);
  }

 protected:
  void take(size_t, Answer answer) override {
    std::string name = room_.pick(directory());
    if (name.empty()) return answer(FileError::kNoEntry, {});
    answer(FileError::kOk, name + "\n");
  }
};

}  // namespace

HandlePtr open_ring(Room& room, const std::string& directory, std::string key, Opener opener) {
  return std::make_shared<RingHandle>(room, directory, std::move(key), std::move(opener));
}

HandlePtr open_pick(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<PickHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
