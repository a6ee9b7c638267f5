// DESIGN.md, "Reads and writes", as far as one handle's buffer keeps it. The tests follow that
// section's order.
#include "fsd/fuse/write_buffer.h"

#include <fcntl.h>
#include <gtest/gtest.h>

namespace zabfs::fsd {
namespace {

using tree::Error;
using tree::Zxid;

constexpr Zxid kMade{5};
constexpr tree::SessionId kSession{8}, kNoSession{};
constexpr tree::Time kTime{1'000, 2};

// A file that handles write to, as the leader keeps it.
class WriteBufferTest : public testing::Test {
 protected:
  WriteBufferTest() { replace("old"); }

  WriteBuffer open(int flags, bool is_new = false) {
    return WriteBuffer(flags, is_new, czxid_, now_);
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

// ---- a write is a transaction

TEST_F(WriteBufferTest, CommitsAllThatWasWrittenAtOnce) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new ");
  write(handle, "contents", 4);
  EXPECT_EQ(data(), "old");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "new contents");
}

TEST_F(WriteBufferTest, CommitsWhatWasWrittenSinceTheCloseBefore) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "one");
  EXPECT_EQ(close(handle), FileError::kOk);
  write(handle, ", two", 3);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "one, two");
}

TEST_F(WriteBufferTest, HasNothingToCommitIfNothingWasWritten) {
  for (int flags : {O_RDONLY, O_WRONLY, O_RDWR | O_APPEND}) {
    WriteBuffer handle = open(flags);
    EXPECT_FALSE(handle.has_uncommitted());
    EXPECT_FALSE(handle.begin_commit(czxid_));
    EXPECT_EQ(handle.error(), FileError::kOk);
  }
}

TEST_F(WriteBufferTest, FillsAHoleWithZeros) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "x", 2);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), std::string("\0\0x", 3));
}

TEST_F(WriteBufferTest, CommitsASizeLikeAWrite) {
  WriteBuffer handle = open(O_WRONLY);
  EXPECT_EQ(handle.resize(2, now_).error, FileError::kOk);
  EXPECT_TRUE(handle.is_dirty());
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "ol");
  EXPECT_EQ(handle.resize(4, now_).error, FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), std::string("ol\0\0", 4));
}

// ---- truncation

TEST_F(WriteBufferTest, ATruncationIsPartOfTheFirstWrite) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  EXPECT_TRUE(handle.is_only_truncated());
  EXPECT_FALSE(handle.is_dirty());
  write(handle, "x");
  EXPECT_FALSE(handle.is_only_truncated());
  EXPECT_EQ(handle.begin_commit(czxid_)->data, "x");
  EXPECT_FALSE(handle.has_uncommitted());
}

TEST_F(WriteBufferTest, ATruncationAloneWaitsForTheSecondFlushOfItsOpener) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  EXPECT_TRUE(handle.waits_at_flush(true));
  EXPECT_TRUE(handle.waits_at_flush(false));  // a child's
  EXPECT_TRUE(handle.waits_at_flush(false));
  EXPECT_FALSE(handle.waits_at_flush(true));
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "");
  EXPECT_FALSE(handle.is_only_truncated());
}

TEST_F(WriteBufferTest, DataDoesNotWaitForASecondFlush) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  EXPECT_TRUE(handle.waits_at_flush(true));
  write(handle, "x");
  EXPECT_FALSE(handle.waits_at_flush(false));
}

TEST_F(WriteBufferTest, AFileThatTheOpenMadeHasNothingToTruncate) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC, true);
  EXPECT_FALSE(handle.has_uncommitted());
  EXPECT_FALSE(handle.waits_at_flush(true));
}

TEST_F(WriteBufferTest, ATruncationGoesWithTheOpenThatFailed) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  EXPECT_TRUE(handle.cancel_truncation());
  EXPECT_FALSE(handle.has_uncommitted());
  EXPECT_FALSE(open(O_WRONLY).cancel_truncation());
}

// ---- success means committed

TEST_F(WriteBufferTest, ACommitWithoutAnAnswerIsUnknownAndStaysUnderWay) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  ASSERT_TRUE(commit);
  EXPECT_EQ(handle.commit_ended(failure(Error::kOperationTimeout), now_).error, FileError::kFailed);
  EXPECT_TRUE(handle.is_committing());
  EXPECT_FALSE(handle.has_uncommitted());  // nothing is committed twice
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_FALSE(handle.is_committing());
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "new");
}

TEST_F(WriteBufferTest, WhatIsWrittenDuringACommitIsCommittedByTheNext) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "one");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  write(handle, ", two", 3);
  EXPECT_TRUE(handle.is_dirty());
  EXPECT_EQ(commit->data, "one");
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "one, two");
}

// ---- a write that is refused

TEST_F(WriteBufferTest, ARefusedWriteTakesWithItWhatWasNotCommitted) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "first half");
  WriteBuffer::Answer answer = handle.refuse(false, FileError::kReadOnly);
  EXPECT_EQ(answer.error, FileError::kReadOnly);
  EXPECT_TRUE(answer.spoils);
  EXPECT_FALSE(handle.has_uncommitted());
  EXPECT_EQ(write(handle, "second half", 10).error, FileError::kReadOnly);
  EXPECT_EQ(append(handle, "more").error, FileError::kReadOnly);
  EXPECT_EQ(handle.resize(0, now_).error, FileError::kReadOnly);
  EXPECT_EQ(close(handle), FileError::kReadOnly);
  EXPECT_EQ(close(handle), FileError::kReadOnly);
  EXPECT_EQ(data(), "old");
}

TEST_F(WriteBufferTest, ARefusedWriteLeavesWhatWasCommitted) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "committed");
  EXPECT_EQ(close(handle), FileError::kOk);
  write(handle, "x", 9);
  handle.refuse(false, FileError::kReadOnly);
  EXPECT_EQ(close(handle), FileError::kReadOnly);
  EXPECT_EQ(data(), "committed");
}

TEST_F(WriteBufferTest, ARefusedWriteTakesTheTruncationWithIt) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  handle.refuse(false, FileError::kReadOnly);
  EXPECT_FALSE(handle.is_only_truncated());
  // Nothing that was accepted is lost. The program got the error of its write.
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "old");
}

TEST_F(WriteBufferTest, TheFirstErrorOfASpoiltHandleIsTold) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "x");
  handle.refuse(false, FileError::kReadOnly);
  handle.refuse(false, FileError::kTooLarge);
  EXPECT_EQ(write(handle, "x").error, FileError::kReadOnly);
  EXPECT_EQ(close(handle), FileError::kReadOnly);
}

TEST_F(WriteBufferTest, WhatIsTooLargeIsRefused) {
  const std::string largest(tree::kMaxDataBytes, 'x');
  WriteBuffer fits = open(O_WRONLY | O_TRUNC);
  EXPECT_EQ(write(fits, largest).error, FileError::kOk);
  EXPECT_EQ(append(fits, "x").error, FileError::kTooLarge);
  EXPECT_EQ(close(fits), FileError::kTooLarge);

  WriteBuffer far = open(O_WRONLY);
  EXPECT_EQ(write(far, "x", tree::kMaxDataBytes).error, FileError::kTooLarge);
  WriteBuffer sized = open(O_WRONLY);
  EXPECT_EQ(sized.resize(tree::kMaxDataBytes, now_).error, FileError::kOk);
  WriteBuffer::Answer answer = sized.resize(tree::kMaxDataBytes + 1, now_);
  EXPECT_EQ(answer.error, FileError::kTooLarge);
  EXPECT_TRUE(answer.spoils);
  EXPECT_EQ(data(), "old");
}

TEST_F(WriteBufferTest, ACommitThatIsRefusedSpoilsTheHandle) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  write(handle, " and more", 3);
  WriteBuffer::Answer answer = handle.commit_ended(failure(Error::kQuotaExceeded), now_);
  EXPECT_EQ(answer.error, FileError::kQuotaExceeded);
  EXPECT_TRUE(answer.spoils);
  EXPECT_FALSE(handle.has_uncommitted());
  EXPECT_EQ(write(handle, "again").error, FileError::kQuotaExceeded);
  EXPECT_EQ(close(handle), FileError::kQuotaExceeded);

  WriteBuffer other = open(O_WRONLY);
  write(other, "new");
  EXPECT_EQ(close_refused(other, Error::kQuotaExceeded), FileError::kQuotaExceeded);
  EXPECT_EQ(close(other), FileError::kQuotaExceeded);
}

// ---- append

TEST_F(WriteBufferTest, AppendsOfTwoHandlesAreBothThere) {
  WriteBuffer a = open(O_WRONLY | O_APPEND), b = open(O_WRONLY | O_APPEND);
  append(a, "+a");
  append(b, "+b");
  EXPECT_EQ(close(a), FileError::kOk);
  EXPECT_EQ(close(b), FileError::kOk);
  append(a, "+c");
  EXPECT_EQ(close(a), FileError::kOk);
  EXPECT_EQ(data(), "old+a+b+c");
}

TEST_F(WriteBufferTest, AnAppendThatWasAcceptedStaysWhenALaterOneIsRefused) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  WriteBuffer::Answer answer = handle.refuse(true, FileError::kReadOnly);
  EXPECT_EQ(answer.error, FileError::kReadOnly);
  EXPECT_FALSE(answer.spoils);
  EXPECT_EQ(append(handle, "+c").error, FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "old+a+c");
}

TEST_F(WriteBufferTest, AnAppendThatMakesTheFileTooLargeStandsAlone) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  WriteBuffer::Answer answer = handle.append(std::string(tree::kMaxDataBytes - 4, 'x'), now_);
  EXPECT_EQ(answer.error, FileError::kTooLarge);
  EXPECT_FALSE(answer.spoils);
  EXPECT_EQ(append(handle, "+c").error, FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "old+a+c");
}

TEST_F(WriteBufferTest, AnAppendThatNobodyWaitedForIsToldOnceIfItWasRefused) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  // Committed unasked.
  ASSERT_TRUE(handle.begin_commit(czxid_));
  EXPECT_FALSE(handle.commit_ended(failure(Error::kQuotaExceeded), now_).spoils);
  append(handle, "+b");
  EXPECT_EQ(close(handle), FileError::kQuotaExceeded);
  EXPECT_EQ(data(), "old+b");
  EXPECT_EQ(close(handle), FileError::kOk);
}

TEST_F(WriteBufferTest, AnAppendThatACloseWaitedForIsToldByThatClose) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  EXPECT_EQ(close_refused(handle, Error::kQuotaExceeded), FileError::kQuotaExceeded);
  EXPECT_EQ(close(handle), FileError::kOk);
}

TEST_F(WriteBufferTest, AWriteTakesTheAppendsBeforeItAlong) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  replace("another one's");
  append(handle, "+a");
  EXPECT_TRUE(handle.commits_unasked());
  EXPECT_EQ(write(handle, "A").error, FileError::kOk);  // the program took O_APPEND away
  EXPECT_FALSE(handle.commits_unasked());
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "Another one's+a");
}

TEST_F(WriteBufferTest, ASizeTakesTheAppendsBeforeItAlong) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  EXPECT_EQ(handle.resize(4, now_).error, FileError::kOk);
  EXPECT_FALSE(handle.commits_unasked());
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "old+");
}

TEST_F(WriteBufferTest, AWriteThatComesDuringTheCommitOfAnAppendIsCommittedByTheNext) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  write(handle, "O");
  EXPECT_EQ(handle.image(now_), "Old+a");
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "Old+a");
}

TEST_F(WriteBufferTest, AReadDuringTheCommitOfAnAppendSeesIt) {
  WriteBuffer handle = open(O_RDWR | O_APPEND);
  append(handle, "+a");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  EXPECT_EQ(handle.image(now_), "old+a");
  append(handle, "+b");
  EXPECT_EQ(handle.image(now_), "old+a+b");
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(handle.image(now_), "old+a+b");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "old+a+b");
}

TEST_F(WriteBufferTest, ASizeThatIsSetDuringTheCommitOfAnAppendHoldsForIt) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  EXPECT_EQ(handle.resize(4, now_).error, FileError::kOk);
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "old+");
}

TEST_F(WriteBufferTest, AnAppendAndTheOneUnderWayAreTooLargeTogether) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, std::string(tree::kMaxDataBytes - 5, 'x'));
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  EXPECT_EQ(append(handle, "xxx").error, FileError::kTooLarge);
  EXPECT_EQ(append(handle, "xx").error, FileError::kOk);
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data().size(), tree::kMaxDataBytes);
}

// The image has the append at its end, and the other one's bytes came before that.
TEST_F(WriteBufferTest, AWriteDuringTheCommitOfAnAppendOverwritesNobodyElses) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  write(handle, "O");
  replace("old+b");
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kStale);
  EXPECT_EQ(data(), "old+b+a");
}

TEST_F(WriteBufferTest, AnAppendThatIsRefusedTakesWithItTheImageThatHasIt) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  ASSERT_TRUE(handle.begin_commit(czxid_));
  write(handle, "O");
  EXPECT_TRUE(handle.commit_ended(failure(Error::kQuotaExceeded), now_).spoils);
  EXPECT_EQ(close(handle), FileError::kQuotaExceeded);
  EXPECT_EQ(data(), "old");
}

TEST_F(WriteBufferTest, ASizeThatIsSetAfterAppendsIsAnEditOfWhatIsThereByThen) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  replace("another one's");
  append(handle, "+a");
  EXPECT_EQ(handle.resize(14, now_).error, FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "another one's+");
}

TEST_F(WriteBufferTest, AnEditAfterAnAppendBeginsWithWhatIsThereByThen) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  tree::Outcome outcome = apply(*commit);
  replace("old+a+b");  // in the same batch of txns
  EXPECT_EQ(handle.commit_ended(outcome, now_).error, FileError::kOk);
  write(handle, "O");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "Old+a+b");
}

TEST_F(WriteBufferTest, AWriteThatIsTooLargeTellsThatItDropsTheAppendsBeforeIt) {
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  EXPECT_EQ(append(handle, "+a").error, FileError::kOk);
  EXPECT_EQ(write(handle, "x", tree::kMaxDataBytes).error, FileError::kTooLarge);
  EXPECT_EQ(close(handle), FileError::kTooLarge);
  EXPECT_EQ(data(), "old");

  WriteBuffer other = open(O_WRONLY | O_APPEND);
  EXPECT_EQ(append(other, "+a").error, FileError::kOk);
  EXPECT_EQ(other.resize(tree::kMaxDataBytes + 1, now_).error, FileError::kTooLarge);
  EXPECT_EQ(close(other), FileError::kTooLarge);
}

// ---- an edit in place

TEST_F(WriteBufferTest, AnEditFailsIfSomebodyElseChangedTheFile) {
  WriteBuffer winner = open(O_WRONLY), loser = open(O_WRONLY);
  write(winner, "W");
  write(loser, "L");
  EXPECT_EQ(close(winner), FileError::kOk);
  EXPECT_EQ(close(loser), FileError::kStale);
  EXPECT_EQ(data(), "Wld");
}

TEST_F(WriteBufferTest, TheHandleThatWonGoesOnAndTheOneThatLostFailsForGood) {
  WriteBuffer winner = open(O_WRONLY), loser = open(O_WRONLY);
  write(winner, "W");
  write(loser, "L");
  EXPECT_EQ(close(winner), FileError::kOk);
  EXPECT_EQ(close(loser), FileError::kStale);
  write(winner, "WW");
  EXPECT_EQ(close(winner), FileError::kOk);
  EXPECT_EQ(write(loser, "L").error, FileError::kStale);
  EXPECT_EQ(append(loser, "L").error, FileError::kStale);
  EXPECT_EQ(loser.resize(0, now_).error, FileError::kStale);
  EXPECT_FALSE(loser.has_uncommitted());
  EXPECT_EQ(close(loser), FileError::kStale);
  EXPECT_EQ(data(), "WWd");
}

TEST_F(WriteBufferTest, TheHandleThatLostAlsoLosesWhatWasWrittenDuringItsCommit) {
  WriteBuffer loser = open(O_WRONLY);
  write(loser, "L");
  ASSERT_TRUE(loser.begin_commit(czxid_));
  write(loser, "LL");
  EXPECT_EQ(loser.commit_ended(failure(Error::kStale), now_).error, FileError::kStale);
  EXPECT_FALSE(loser.has_uncommitted());
}

TEST_F(WriteBufferTest, WholeContentsReplaceWhateverIsThere) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  replace("another one's");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "new");
}

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
    EXPECT_EQ(again->mtime, commit->mtime);
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

// ---- sizes, and reads through the handle

TEST_F(WriteBufferTest, AReadSeesWhatItsHandleWrote) {
  WriteBuffer edits = open(O_RDWR), truncates = open(O_RDWR | O_TRUNC);
  write(edits, "O");
  write(truncates, "new");
  EXPECT_EQ(edits.image(now_), "Old");
  EXPECT_EQ(truncates.image(now_), "new");
  EXPECT_EQ(close(truncates), FileError::kOk);
  EXPECT_EQ(truncates.image(now_), "new");
}

TEST_F(WriteBufferTest, AReadSeesAppendsBehindWhatIsThereByThen) {
  WriteBuffer handle = open(O_RDWR | O_APPEND);
  append(handle, "+a");
  EXPECT_EQ(handle.image(now_), "old+a");
  replace("another one's");
  EXPECT_EQ(handle.image(now_), "another one's+a");
  EXPECT_EQ(close(handle), FileError::kOk);
  replace("new");
  EXPECT_EQ(handle.image(now_), "new");
}

TEST_F(WriteBufferTest, AReadSeesAnAppendOfAHandleThatEditsOnceItIsCommitted) {
  WriteBuffer handle = open(O_RDWR);
  append(handle, "+a");  // the program has set O_APPEND
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(handle.image(now_), "old+a");
}

TEST_F(WriteBufferTest, AnEditStaysAtTheVersionThatItBeganWith) {
  WriteBuffer handle = open(O_RDWR);
  replace("another one's");
  EXPECT_EQ(handle.image(now_), "old");
}

TEST_F(WriteBufferTest, AReadOfARemovedFileSeesWhatWasThereAndWhatItsHandleWrote) {
  WriteBuffer edits = open(O_RDWR), appends = open(O_RDWR | O_APPEND);
  append(appends, "+a");
  EXPECT_EQ(edits.image(std::nullopt), "old");
  EXPECT_EQ(appends.image(std::nullopt), "old+a");
  write(edits, "O");
  EXPECT_EQ(edits.image(std::nullopt), "Old");
}

TEST_F(WriteBufferTest, AReadDoesNotSeeATruncationThatIsAlone) {
  EXPECT_EQ(open(O_RDWR | O_TRUNC).image(now_), "old");
}

TEST_F(WriteBufferTest, AReadThroughASpoiltHandleSeesWhatIsCommitted) {
  WriteBuffer handle = open(O_RDWR);
  write(handle, "new");
  EXPECT_EQ(close(handle), FileError::kOk);
  write(handle, "newer");
  handle.refuse(false, FileError::kReadOnly);
  EXPECT_EQ(handle.image(now_), "new");
}

// ---- times

TEST_F(WriteBufferTest, ATimeThatWasSetGoesWithTheData) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  EXPECT_TRUE(handle.defer_mtime(kTime));
  EXPECT_EQ(handle.begin_commit(czxid_)->mtime, kTime);
}

TEST_F(WriteBufferTest, ATimeDoesNotHoldForDataThatIsWrittenAfterIt) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  handle.defer_mtime(kTime);
  write(handle, "er", 3);
  EXPECT_FALSE(handle.begin_commit(czxid_)->mtime);
}

TEST_F(WriteBufferTest, ATimeDoesNotHoldForASizeThatIsSetAfterIt) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "new");
  EXPECT_TRUE(handle.defer_mtime(kTime));
  handle.resize(1, now_);
  EXPECT_FALSE(handle.begin_commit(czxid_)->mtime);
}

TEST_F(WriteBufferTest, ATimeIsNotTakenIfThereIsNoDataForIt) {
  EXPECT_FALSE(open(O_WRONLY).defer_mtime(kTime));
  EXPECT_FALSE(open(O_WRONLY | O_TRUNC).defer_mtime(kTime));
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  EXPECT_FALSE(handle.defer_mtime(kTime));
}

// ---- locks of files

TEST_F(WriteBufferTest, WhoGetsALockEditsWhatIsThereByThen) {
  WriteBuffer handle = open(O_RDWR);
  replace("another one's");
  handle.lock_taken(kSession, now_);
  EXPECT_EQ(handle.image(now_), "another one's");
  write(handle, "A");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "Another one's");
}

TEST_F(WriteBufferTest, WhatWasWrittenBeforeTheLockIsStillAnEditOfWhatWasThereThen) {
  WriteBuffer handle = open(O_RDWR);
  write(handle, "O");
  replace("another one's");
  handle.lock_taken(kSession, now_);
  EXPECT_EQ(close(handle), FileError::kStale);
}

TEST_F(WriteBufferTest, AHandleThatWroteBeforeSeesWhatIsThereWhenItGetsTheLock) {
  WriteBuffer handle = open(O_RDWR);
  write(handle, "mine");
  EXPECT_EQ(close(handle), FileError::kOk);
  replace("another one's");
  handle.lock_taken(kSession, now_);
  EXPECT_EQ(handle.image(now_), "another one's");
}

TEST_F(WriteBufferTest, ALockThatComesDuringACommitLeavesTheImageOfThat) {
  WriteBuffer handle = open(O_RDWR);
  write(handle, "O");
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  handle.lock_taken(kSession, now_);
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(handle.image(now_), "Old");
}

TEST_F(WriteBufferTest, WhatIsWrittenUnderALockIsCommittedInItsSession) {
  for (int flags : {O_WRONLY, O_WRONLY | O_TRUNC, O_WRONLY | O_APPEND}) {
    WriteBuffer handle = open(flags);
    handle.lock_taken(kSession, now_);
    append(handle, "x");
    std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
    EXPECT_EQ(commit->session, kSession);
    EXPECT_EQ(finish(handle, *commit), FileError::kOk);
    handle.lock_given_up();
    append(handle, "x");
    EXPECT_EQ(handle.begin_commit(czxid_)->session, kNoSession);
  }
}

TEST_F(WriteBufferTest, ChangesNothingOnceTheLockIsLost) {
  WriteBuffer known = open(O_WRONLY);
  known.lock_taken(kSession, now_);
  write(known, "x");
  known.lose();
  EXPECT_EQ(close(known), FileError::kStale);
  EXPECT_EQ(data(), "old");

  WriteBuffer under_way = open(O_WRONLY | O_APPEND);
  under_way.lock_taken(kSession, now_);
  append(under_way, "x");
  EXPECT_EQ(close_refused(under_way, Error::kSessionExpired), FileError::kStale);
  EXPECT_EQ(append(under_way, "x").error, FileError::kStale);
}

}  // namespace
}  // namespace zabfs::fsd
