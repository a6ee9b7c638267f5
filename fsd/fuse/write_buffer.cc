#include "fsd/fuse/write_buffer.h"

#include <fcntl.h>

#include <utility>

#include "fsd/view/view.h"
#include "tree/access.h"

namespace zabfs::fsd {

using tree::Error;

namespace {

constexpr int32_t kNoVersion = -2;  // that no znode has

}  // namespace

WriteBuffer::WriteBuffer(int flags, bool is_new, tree::Zxid czxid, const Committed& now,
                         size_t max_bytes)
    : czxid_(czxid),
      is_append_handle_((flags & O_APPEND) != 0),
      is_whole_((flags & O_TRUNC) != 0 && !is_append_handle_),
      is_made_here_(is_new),
      base_version_(now.version),
      max_bytes_(max_bytes),
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
  if (check() != FileError::kOk) return {check()};
  if (offset + bytes.size() > max_bytes_) return refuse(false, FileError::kTooLarge);
  begin_image(now);
  if (image_->size() < offset + bytes.size()) image_->resize(offset + bytes.size(), '\0');
  image_->replace(offset, bytes.size(), bytes);
  has_new_image_ = true;
  is_only_truncated_ = is_emptied_ = false;
  deferred_.mtime.reset();  // a time that was set before this data does not hold for it
  return {};
}

WriteBuffer::Answer WriteBuffer::append(std::string_view bytes, const Committed& now) {
  if (check() != FileError::kOk) return {check()};
  if (has_own_image()) return write(bytes, image_->size(), now);
  size_t size = now.data.size() + in_flight_.size() + appended_.size() + bytes.size();
  if (size > max_bytes_) return refuse(true, FileError::kTooLarge);
  appended_ += bytes;
  deferred_.mtime.reset();
  return {};
}

WriteBuffer::Answer WriteBuffer::resize(size_t size, const Committed& now) {
  if (check() != FileError::kOk) return {check()};
  if (size > max_bytes_) return refuse(false, FileError::kTooLarge);
  begin_image(now);
  image_->resize(size, '\0');
  has_new_image_ = true;
  is_emptied_ = size == 0;
  is_only_truncated_ = false;
  deferred_.mtime.reset();
  return {};
}

// An image that takes appends along begins with what is there now, and has them in it.
void WriteBuffer::begin_image(const Committed& now) {
  bool has_appends = !appended_.empty() || !in_flight_.empty();
  if (image_ && !has_appends) return;
  image_ = image(now);
  if (has_appends) base_version_ = now.version;
  appended_.clear();
  in_flight_.clear();
}

bool WriteBuffer::others_appended(const Committed& now) const {
  return !is_whole_ && !image_ && now.version != base_version_ && !base_.view().empty() &&
         now.data.view().starts_with(base_.view());
}

void WriteBuffer::emptied(const std::optional<Committed>& now) {
  bool is_empty = now && now->data.view().empty();
  rebase(is_empty ? *now : Committed{tree::Bytes(), kNoVersion});
}

void WriteBuffer::rebase(const Committed& now) {
  image_.reset();
  base_ = now.data;
  base_version_ = now.version;
}

// A line that is appended stands alone: if it is refused, those before it and after it are not.
// Any other write is a part of the whole contents.
WriteBuffer::Answer WriteBuffer::refuse(bool is_append, FileError error) {
  if (is_append && !has_own_image()) return {error};
  spoil(error);
  return {error, true};
}

bool WriteBuffer::defer_mtime(tree::Time mtime) {
  if (!has_new_image_) return false;
  deferred_.mtime = mtime;
  return true;
}

bool WriteBuffer::defer_owner_and_mode(const tree::PosixChange& change) {
  // What was set earlier is not to come behind this, not even if its commit has to be sent again.
  for (tree::PosixChange* earlier : {&deferred_, &committing_}) {
    if (change.mode) earlier->mode.reset();
    if (change.uid) earlier->uid.reset();
    if (change.gid) earlier->gid.reset();
  }
  if (!is_made_here_ || !has_new_image_ || is_committing_) return false;
  const tree::PosixEntry& committed = change.base;
  deferred_ = still_holding(deferred_, committed);
  deferred_.base = committed;
  if (change.mode) deferred_.mode = change.mode;
  if (change.uid) deferred_.uid = change.uid;
  if (change.gid) deferred_.gid = change.gid;
  return !takes_rights_away(committed, changed(committed, deferred_));
}

std::optional<tree::PosixChange> WriteBuffer::deferred() const {
  if (is_stale_ || is_detached_) return std::nullopt;
  tree::PosixChange change = is_committing_ ? committing_ : deferred_;
  if (deferred_.mtime) change.mtime = deferred_.mtime;
  change.base.mtime_version = base_version_;
  if (change.is_empty()) return std::nullopt;
  return change;
}

std::string WriteBuffer::image(const std::optional<Committed>& now) const {
  std::string_view committed = now ? now->data.view() : base_.view();
  if (spoilt_by_ != FileError::kOk) return std::string(committed);
  if (has_new_image_) return *image_;
  if (!appended_.empty() || !in_flight_.empty()) {
    return std::string(committed) + in_flight_ + appended_;
  }
  if (image_) return *image_;
  return std::string(is_append_handle_ || is_whole_ ? committed : base_.view());
}

// ---- what happens to the file

void WriteBuffer::lock_taken(tree::SessionId session, const std::optional<Committed>& now) {
  lock_session_ = session;
  if (now && !is_whole_ && !is_dirty() && !is_committing_) rebase(*now);
}

void WriteBuffer::renamed(int32_t version_before, int32_t version) {
  if (!is_committing_) return follow({version_before, version});
  // The outcome tells whether it came before the commit or behind it.
  if (!rename_) {
    rename_ = {version_before, version};
  } else {
    bool is_next = rename_->version == version_before;
    rename_->version = is_next ? version : kNoVersion;
  }
}

std::optional<std::string> WriteBuffer::detach(const tree::Bytes& last) {
  std::optional<std::string> contents;
  if (is_only_truncated_) {
    contents.emplace();
  } else if (has_new_image_ || (is_committing_ && !commits_append_)) {
    contents = image_;
  } else if (!appended_.empty() || !in_flight_.empty()) {
    // The append under way may have come before the removal.
    bool has_come = last.view().ends_with(in_flight_);
    contents = std::string(last.view()) + (has_come ? "" : in_flight_) + appended_;
  }
  is_detached_ = true;
  drop();
  in_flight_.clear();
  return contents;
}

// The versions begin anew, and may be those that a handle knows that is behind.
void WriteBuffer::follow(const Rename& rename) {
  base_version_ = base_version_ == rename.version_before ? rename.version : kNoVersion;
}

// ---- commits

bool WriteBuffer::waits_at_flush(bool by_opener) {
  if (!is_only_truncated_) return false;
  return !by_opener || ++flushes_by_opener_ < 2;
}

bool WriteBuffer::cancel_truncation() { return std::exchange(is_only_truncated_, false); }

std::optional<WriteBuffer::Commit> WriteBuffer::begin_commit(tree::Zxid czxid, bool is_asked) {
  if (!has_uncommitted() || (!is_asked && !commits_unasked())) return std::nullopt;
  if (is_stale_) {
    drop();
    return std::nullopt;
  }
  Commit commit;
  commit.czxid = czxid;
  commit.session = lock_session_;
  commit.appends = !has_own_image();
  if (commit.appends) {
    commit.data = in_flight_ = std::exchange(appended_, {});
  } else {
    bool replaces_all = (is_whole_ && is_asked) || is_emptied_;
    commit.version = replaces_all ? tree::kAnyVersion : base_version_;
    commit.data = *image_;
    commit.change = std::exchange(deferred_, {});
    has_new_image_ = is_only_truncated_ = is_emptied_ = false;
  }
  committing_ = commit.change;
  is_asked_ = is_asked;
  is_committing_ = true;
  commits_append_ = commit.appends;
  return commit;
}

WriteBuffer::Answer WriteBuffer::commit_ended(const tree::Outcome& outcome,
                                              const std::optional<Committed>& now) {
  FileError error = file_error_of(outcome.error);
  if (outcome.error == Error::kOperationTimeout) return {error};
  is_committing_ = false;
  std::optional<Rename> rename = std::exchange(rename_, std::nullopt);
  if (is_detached_) return {};
  bool is_in_image = commits_append_ && in_flight_.empty();
  if (outcome.error == Error::kOk) {
    in_flight_.clear();
    if (commits_append_ && !is_in_image) {
      image_.reset();
      base_ = now ? now->data : base_;
      base_version_ = now ? now->version : kNoVersion;
      return {};
    }
    // An image that has the append in it holds only if nothing else came before that.
    bool is_behind = is_in_image && outcome.stat.version != int64_t{base_version_} + 1;
    base_version_ = is_behind ? kNoVersion : outcome.stat.version;
    if (rename) follow(*rename);
    return {};
  }
  bool is_elsewhere = outcome.error == Error::kStale || outcome.error == Error::kNoNode;
  if (is_elsewhere && rename && spoilt_by_ == FileError::kOk) {
    take_back();
    follow(*rename);
    return {.again = true};
  }
  if (outcome.error == Error::kStale && !is_asked_ && is_whole_ && spoilt_by_ == FileError::kOk) {
    // Somebody else wrote the file. The next close replaces that, as of any other whole file.
    is_made_here_ = false;
    take_back();
    return {};
  }
  in_flight_.clear();
  if (is_elsewhere || outcome.error == Error::kSessionExpired) {
    is_stale_ = true;
    drop();
    return {FileError::kStale};
  }
  if (commits_append_ && !is_in_image) {
    append_error_ = error;
    return {error};
  }
  spoil(error);
  has_dropped_ = true;  // what was in the commit
  return {error, true};
}

// The commit under way did nothing: what was in it is uncommitted again.
void WriteBuffer::take_back() {
  if (commits_append_) {
    appended_.insert(0, std::exchange(in_flight_, {}));
  } else {
    if (has_new_image_) committing_.mtime = deferred_.mtime;  // of what was written since
    deferred_ = committing_;
    has_new_image_ = true;
  }
}

FileError WriteBuffer::take_append_error(FileError error) {
  FileError earlier = std::exchange(append_error_, FileError::kOk);
  return error != FileError::kOk ? error : earlier;
}

void WriteBuffer::spoil(FileError error) {
  if (spoilt_by_ == FileError::kOk) spoilt_by_ = error;
  has_dropped_ |= is_dirty();
  drop();
  image_.reset();
}

void WriteBuffer::drop() {
  has_new_image_ = is_only_truncated_ = false;
  appended_.clear();
  deferred_ = {};
}

}  // namespace zabfs::fsd
