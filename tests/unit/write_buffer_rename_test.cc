// DESIGN.md, "Reads and writes": handles of files that are removed, replaced or renamed.
#include "unit/write_buffer_fixture.h"

namespace zabfs::fsd {
namespace {

TEST_F(WriteBufferTest, NeverWritesToANewFileOfTheSameName) {
  for (int flags : {O_WRONLY, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND}) {
    czxid_ = kMade;
    WriteBuffer handle = open(flags);
    (flags & O_APPEND) != 0 ? append(handle, "x") : write(handle, "x");
    std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
    czxid_ = Zxid{6};  // removed and made anew, while the commit was on its way
    EXPECT_EQ(finish(handle, *commit), FileError::kStale);
    EXPECT_EQ(data(), "old");
  }
}

TEST_F(WriteBufferTest, CommitsNothingOnceItsFileWasRemoved) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  handle.lose();
  EXPECT_FALSE(handle.begin_commit(czxid_));
  EXPECT_FALSE(handle.has_uncommitted());
  EXPECT_EQ(handle.error(), FileError::kStale);

  WriteBuffer late = open(O_WRONLY);
  write(late, "new");
  EXPECT_EQ(close_refused(late, Error::kNoNode), FileError::kStale);
  EXPECT_EQ(write(late, "new").error, FileError::kStale);
}

TEST_F(WriteBufferTest, FollowsItsFileWhenThatIsRenamed) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "new");
  handle.renamed(now_.version, 0);
  now_.version = 0;
  czxid_ = Zxid{9};
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "new");
}

TEST_F(WriteBufferTest, ARenameDoesNotBringAHandleUpToDate) {
  replace("version 2");
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "mine");
  replace("another one's");
  handle.renamed(now_.version, 0);
  now_.version = 0;
  EXPECT_EQ(close(handle), FileError::kStale);
  EXPECT_EQ(data(), "another one's");
}

// The versions of a renamed file begin anew, and may be those that the handle knows.
TEST_F(WriteBufferTest, ARenameBringsNoHandleUpToDateByChance) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "mine");
  replace("another one's");
  handle.renamed(now_.version, 1);
  now_.version = 1;
  EXPECT_EQ(close(handle), FileError::kStale);
  EXPECT_EQ(data(), "another one's");
}

// The commit and the rename come in one batch of txns: the outcome is told after both.
TEST_F(WriteBufferTest, FollowsARenameRightBehindItsOwnCommit) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "one");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  tree::Outcome outcome = apply(*commit);
  rename(handle);
  rename(handle);
  EXPECT_EQ(handle.commit_ended(outcome, now_).error, FileError::kOk);
  write(handle, "two");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "two");
}

TEST_F(WriteBufferTest, IsStaleIfSomebodyWroteBetweenItsCommitAndARename) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "one");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  tree::Outcome outcome = apply(*commit);
  replace("another one's");
  rename(handle);
  EXPECT_EQ(handle.commit_ended(outcome, now_).error, FileError::kOk);
  write(handle, "two");
  EXPECT_EQ(close(handle), FileError::kStale);
  EXPECT_EQ(data(), "another one's");
}

TEST_F(WriteBufferTest, CommitsOnceMoreWhatCameToAFileThatHadBeenRenamed) {
  for (int flags : {O_WRONLY, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND}) {
    replace("old");
    WriteBuffer handle = open(flags);
    (flags & O_APPEND) != 0 ? append(handle, "x") : write(handle, "x");
    handle.defer_mtime(kTime);
    std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
    rename(handle);
    WriteBuffer::Answer answer = handle.commit_ended(apply(*commit), now_);
    EXPECT_TRUE(answer.again);
    EXPECT_EQ(answer.error, FileError::kOk);
    std::optional<WriteBuffer::Commit> again = handle.begin_commit(czxid_);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->data, commit->data);
    EXPECT_EQ(again->change.mtime, commit->change.mtime);
    EXPECT_EQ(finish(handle, *again), FileError::kOk);
    EXPECT_EQ(data(), flags == O_WRONLY ? "xld" : (flags & O_APPEND) != 0 ? "oldx" : "x");
  }
}

TEST_F(WriteBufferTest, CommitsOnceMoreWhatWasWrittenMeanwhile) {
  WriteBuffer appends = open(O_WRONLY | O_APPEND);
  append(appends, "+a");
  std::optional<WriteBuffer::Commit> commit = appends.begin_commit(czxid_);
  append(appends, "+b");
  rename(appends);
  EXPECT_TRUE(appends.commit_ended(apply(*commit), now_).again);
  EXPECT_EQ(appends.image(now_), "old+a+b");
  EXPECT_EQ(close(appends), FileError::kOk);
  EXPECT_EQ(data(), "old+a+b");

  append(appends, "+c");
  commit = appends.begin_commit(czxid_);
  write(appends, "O");
  rename(appends);
  EXPECT_TRUE(appends.commit_ended(apply(*commit), now_).again);
  EXPECT_EQ(close(appends), FileError::kOk);
  EXPECT_EQ(data(), "Old+a+b+c");
}

TEST_F(WriteBufferTest, IsStaleIfItsRenamedFileHadChangedBefore) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "mine");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  replace("another one's");
  rename(handle);
  EXPECT_TRUE(handle.commit_ended(apply(*commit), now_).again);
  EXPECT_EQ(close(handle), FileError::kStale);
  EXPECT_EQ(data(), "another one's");
}

}  // namespace
}  // namespace zabfs::fsd
