#include "fsd/fuse/write_buffer.h"

#include <fcntl.h>

#include <utility>

#include "fsd/fuse/view.h"

namespace zabfs::fsd {

using tree::Error;

WriteBuffer::WriteBuffer(int flags, bool is_new, tree::Zxid czxid, const Committed& now)
    : czxid_(czxid),
      is_append_handle_((flags & O_APPEND) != 0),
      is_whole_((flags & O_TRUNC) != 0),
      base_version_(now.version),
      is_only_truncated_(is_whole_ && !is_new) {
  if (is_whole_) {
    image_.emplace();
  } else {
    base_ = now.data;
  }
}

// ---- what the program does

WriteBuffer::Answer WriteBuffer::write(std::string_view bytes, size_t offset,
                                       const Committed& now) {
  if (check() != 0) return {check()};
  if (!image_ || !appended_.empty()) {
    image_ = image(now);
    // The image began with what is there now, and its appends in that.
    if (!appended_.empty()) base_version_ = now.version;
    appended_.clear();
  }
  if (offset + bytes.size() > tree::kMaxDataBytes) return refuse(false, EFBIG);
  if (image_->size() < offset + bytes.size()) image_->resize(offset + bytes.size(), '\0');
  image_->replace(offset, bytes.size(), bytes);
  has_new_image_ = true;
  is_only_truncated_ = false;
  mtime_.reset();  // a time that was set before this data does not hold for it
  return {};
}

WriteBuffer::Answer WriteBuffer::append(std::string_view bytes, const Committed& now) {
  if (check() != 0) return {check()};
  if (has_own_image()) return write(bytes, image_->size(), now);
  if (now.data.size() + appended_.size() + bytes.size() > tree::kMaxDataBytes) {
    return refuse(true, EFBIG);
  }
  appended_ += bytes;
  mtime_.reset();
  return {};
}

WriteBuffer::Answer WriteBuffer::resize(size_t size, const Committed& now) {
  if (check() != 0) return {check()};
  if (size > tree::kMaxDataBytes) return refuse(false, EFBIG);
  if (!image_ || !appended_.empty()) {
    image_ = image(now);
    appended_.clear();
  }
  image_->resize(size, '\0');
  has_new_image_ = true;
  is_only_truncated_ = false;
  return {};
}

// A line that is appended stands alone: if it is refused, those before it and after it are not.
// Whatever else is written is a part of the whole contents.
WriteBuffer::Answer WriteBuffer::refuse(bool is_append, int error) {
  if (is_append && !has_own_image()) return {error};
  spoil(error);
  return {error, true};
}

bool WriteBuffer::defer_mtime(tree::Time mtime) {
  if (!has_new_image_) return false;
  mtime_ = mtime;
  return true;
}

std::string WriteBuffer::image(const Committed& now) const {
  std::string_view committed = now.data.view();
  if (spoilt_by_ != 0) return std::string(committed);
  if (has_new_image_) return *image_;
  if (!appended_.empty()) return std::string(committed) + appended_;
  if (image_ && !is_only_truncated_) return *image_;
  return std::string(is_append_handle_ || is_whole_ ? committed : base_.view());
}

// ---- what happens to the file

void WriteBuffer::lock_taken(tree::SessionId session, const std::optional<Committed>& now) {
  lock_session_ = session;
  if (!now || is_whole_ || is_dirty() || is_committing_) return;
  image_.reset();
  base_ = now->data;
  base_version_ = now->version;
}

void WriteBuffer::renamed(int32_t version_before, int32_t version) {
  if (base_version_ == version_before) base_version_ = version;
}

// ---- commits

bool WriteBuffer::waits_at_flush(bool by_opener) {
  if (!is_only_truncated_) return false;
  return !by_opener || ++flushes_by_opener_ < 2;
}

bool WriteBuffer::cancel_truncation() { return std::exchange(is_only_truncated_, false); }

std::optional<WriteBuffer::Commit> WriteBuffer::begin_commit(tree::Zxid czxid) {
  if (!has_uncommitted()) return std::nullopt;
  if (is_stale_) {
    drop();
    return std::nullopt;
  }
  Commit commit;
  commit.czxid = czxid;
  commit.session = lock_session_;
  commit.appends = !has_own_image();
  if (commit.appends) {
    commit.data = std::exchange(appended_, {});
  } else {
    commit.version = is_whole_ ? tree::kAnyVersion : base_version_;
    commit.data = *image_;
    commit.mtime = std::exchange(mtime_, std::nullopt);
    has_new_image_ = is_only_truncated_ = false;
  }
  is_committing_ = true;
  commits_append_ = commit.appends;
  return commit;
}

WriteBuffer::Answer WriteBuffer::commit_ended(const tree::Outcome& outcome,
                                              const std::optional<Committed>& now) {
  int error = to_errno(outcome.error);
  if (outcome.error == Error::kOperationTimeout) return {error};
  is_committing_ = false;
  if (outcome.error == Error::kOk) {
    base_version_ = outcome.stat.version;
    if (commits_append_ && !has_new_image_) {
      image_.reset();
      if (now) base_ = now->data;
    }
    return {};
  }
  bool is_lost = outcome.error == Error::kStale || outcome.error == Error::kNoNode ||
                 outcome.error == Error::kSessionExpired;
  if (is_lost) {
    is_stale_ = true;
    drop();
    return {ESTALE};
  }
  if (commits_append_) {
    append_error_ = error;
    return {error};
  }
  spoil(error);
  has_dropped_ = true;  // what was in the commit
  return {error, true};
}

int WriteBuffer::take_append_error(int error) {
  int earlier = std::exchange(append_error_, 0);
  return error != 0 ? error : earlier;
}

void WriteBuffer::spoil(int error) {
  if (spoilt_by_ == 0) spoilt_by_ = error;
  has_dropped_ |= is_dirty();
  drop();
  image_.reset();
  mtime_.reset();
}

void WriteBuffer::drop() {
  has_new_image_ = is_only_truncated_ = false;
  appended_.clear();
}

}  // namespace zabfs::fsd
