// One handle's buffer, and the file that it writes to as the leader keeps it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include "fsd/fuse/write_buffer.h"

namespace zabfs::fsd {

using tree::Error;
using tree::Zxid;

inline constexpr Zxid kMade{5};
inline constexpr tree::Time kTime{1'000, 2};

// A file that handles write to, as the leader keeps it.
class WriteBufferTest : public testing::Test {
 protected:
  WriteBufferTest() { replace("old"); }

  WriteBuffer open(int flags, bool is_new = false) {
    return WriteBuffer(flags, is_new, czxid_, now_, tree::Limits().data_bytes());
  }
  void rename(WriteBuffer& handle) {
    handle.renamed(now_.version, 0);
    now_.version = 0;
    czxid_ = Zxid{czxid_.value + 1};
  }
  // Another node's write.
  void replace(std::string_view data) { now_ = {tree::Bytes(data), now_.version + 1}; }
  // What the leader does with a commit.
  tree::Outcome apply(const WriteBuffer::Commit& commit) {
    bool fits = commit.czxid == czxid_ &&
                (commit.version == tree::kAnyVersion || commit.version == now_.version);
    if (!fits) return failure(Error::kStale);
    replace(commit.appends ? std::string(now_.data.view()) + commit.data : commit.data);
    tree::Outcome outcome;
    outcome.stat.version = now_.version;
    return outcome;
  }
  // The leader applies the commit and answers. What the close returns that waits for it.
  FileError finish(WriteBuffer& handle, const WriteBuffer::Commit& commit) {
    tree::Outcome outcome = apply(commit);
    return handle.commit_ended(outcome, now_).error;
  }
  static tree::Outcome failure(Error error) {
    tree::Outcome outcome;
    outcome.error = error;
    return outcome;
  }
  // What a close of the handle returns, if the leader answers.
  FileError close(WriteBuffer& handle) {
    std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
    if (!commit) return handle.take_append_error(handle.error());
    return handle.take_append_error(finish(handle, *commit));
  }
  // A close whose commit the leader refuses.
  FileError close_refused(WriteBuffer& handle, Error error) {
    EXPECT_TRUE(handle.begin_commit(czxid_));
    return handle.take_append_error(handle.commit_ended(failure(error), now_).error);
  }
  WriteBuffer::Answer write(WriteBuffer& handle, std::string_view bytes, size_t offset = 0) {
    return handle.write(bytes, offset, now_);
  }
  WriteBuffer::Answer append(WriteBuffer& handle, std::string_view bytes) {
    return handle.append(bytes, now_);
  }
  std::string data() const { return std::string(now_.data.view()); }

  Zxid czxid_ = kMade;
  WriteBuffer::Committed now_;
};

}  // namespace zabfs::fsd
