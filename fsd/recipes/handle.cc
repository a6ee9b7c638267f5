#include "fsd/recipes/handle.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "fsd/recipes/room.h"
#include "tree/path.h"

namespace zabfs::fsd {

Handle::Handle(Room& room, Control control, std::string directory, Opener opener)
    : room_(room), control_(control), directory_(std::move(directory)), opener_(std::move(opener)) {
  if (const tree::ZNode* node = room_.tree().find(directory_)) czxid_ = node->stat.czxid;
  room_.add(this);
}

Handle::~Handle() = default;

bool Handle::is_orphan() const {
  const tree::ZNode* node = room_.tree().find(directory_);
  return node == nullptr || node->stat.czxid != czxid_;
}

void Handle::read(uint64_t number, size_t size, off_t offset, bool wait, Answer answer) {
  if (is_lost()) return answer(FileError::kStale, {});
  if (offset != 0 && !written_) {
    size_t from =
        std::min(static_cast<size_t>(std::max<off_t>(offset - text_at_, 0)), text_.size());
    return answer(FileError::kOk, std::string_view(text_).substr(from, size));
  }
  text_at_ = offset;
  written_ = false;
  start({number, size, wait, std::move(answer)});
}

void Handle::start(Parked parked) {
  if (!is_ready()) {
    if (!parked.wait) return parked.answer(FileError::kTryAgain, {});
    auto later = std::find_if(parked_.begin(), parked_.end(),
                              [&](const Parked& other) { return other.number > parked.number; });
    parked_.insert(later, std::move(parked));
    return;
  }
  ClientSession::Acting as(room_.session(), opener_.actor());
  auto shared = std::make_shared<Parked>(std::move(parked));
  take(shared->size, [self = shared_from_this(), shared](FileError error, std::string_view bytes) {
    if (error == FileError::kTryAgain && shared->wait && !self->closed_)
      return self->start(std::move(*shared));
    if (error != FileError::kOk) return shared->answer(error, {});
    self->text_ = bytes;
    shared->answer(FileError::kOk, std::string_view(self->text_).substr(0, shared->size));
  });
}

bool Handle::answer_first() {
  if (parked_.empty() || !is_readable()) return false;
  Parked parked = std::move(parked_.front());
  parked_.pop_front();
  if (is_lost()) {
    parked.answer(FileError::kStale, {});
  } else {
    start(std::move(parked));
  }
  return true;
}

void Handle::wake() {
  auto self = shared_from_this();
  while (answer_first()) {
  }
  if (is_readable() && on_readable_) on_readable_();
}

void Handle::cancel_read(uint64_t number) {
  auto found = std::find_if(parked_.begin(), parked_.end(),
                            [number](const Parked& parked) { return parked.number == number; });
  if (found == parked_.end()) return;
  Answer answer = std::move(found->answer);
  parked_.erase(found);
  answer(FileError::kInterrupted, {});
}

void Handle::write(std::string_view, off_t, bool, Done done) { done(FileError::kInvalid); }

void Handle::lose() {
  if (std::exchange(lost_, true)) return;
  wake();
}

void Handle::close() {
  if (std::exchange(closed_, true)) return;
  on_readable_ = nullptr;
  for (Parked& parked : std::exchange(parked_, {})) parked.answer(FileError::kClosed, {});
  leave();
  room_.remove(this);
}

std::string Handle::held_line(std::string_view kind, std::string_view name) const {
  return fmt::format("{} {} {} {}\n", kind, tree::join_path(directory_, name), opener_.pid,
                     opener_.program);
}

}  // namespace zabfs::fsd
