#include "fsd/fuse/orphan.h"

#include <algorithm>
#include <utility>

#include "tree/types.h"

namespace zabfs::fsd {

bool OrphanSpace::take(size_t bytes) {
  if (used_.fetch_add(bytes) + bytes <= kMaxBytes) return true;
  used_ -= bytes;
  return false;
}

Orphan::~Orphan() {
  if (written_) space_.give_back(written_->size());
}

std::string_view Orphan::view() const { return written_ ? *written_ : committed_.view(); }

size_t Orphan::size() const {
  MutexLock lock(mutex_);
  return view().size();
}

std::string Orphan::read(size_t size, size_t offset) const {
  MutexLock lock(mutex_);
  return std::string(view().substr(std::min(offset, view().size()), size));
}

tree::Bytes Orphan::contents() const {
  MutexLock lock(mutex_);
  return written_ ? tree::Bytes(*written_) : committed_;
}

FileError Orphan::write(std::string_view bytes, size_t offset) {
  MutexLock lock(mutex_);
  if (offset + bytes.size() < offset) return FileError::kTooLarge;
  FileError error = resize_locked(std::max(view().size(), offset + bytes.size()));
  if (error != FileError::kOk) return error;
  written_->replace(offset, bytes.size(), bytes);
  return FileError::kOk;
}

FileError Orphan::append(std::string_view bytes) {
  MutexLock lock(mutex_);
  size_t offset = view().size();
  FileError error = resize_locked(offset + bytes.size());
  if (error != FileError::kOk) return error;
  written_->replace(offset, bytes.size(), bytes);
  return FileError::kOk;
}

FileError Orphan::resize(size_t size) {
  MutexLock lock(mutex_);
  return resize_locked(size);
}

void Orphan::replace(std::string contents) {
  MutexLock lock(mutex_);
  if (written_) space_.give_back(written_->size());
  space_.add(contents.size());
  written_ = std::move(contents);
}

FileError Orphan::resize_locked(size_t size) {
  if (size > space_.max_file_bytes()) return FileError::kTooLarge;
  size_t held = written_ ? written_->size() : 0;
  if (size > held && !space_.take(size - held)) return FileError::kNoSpace;
  if (size < held) space_.give_back(held - size);
  if (!written_) written_.emplace(committed_.view());
  written_->resize(size, '\0');
  return FileError::kOk;
}

}  // namespace zabfs::fsd
