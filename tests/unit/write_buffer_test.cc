// DESIGN.md, "Reads and writes", as far as one handle's buffer keeps it. The tests follow that
// section's order; those of appends and of renamed files have files of their own.
#include "fsd/fuse/deferred_attributes.h"
#include "unit/write_buffer_fixture.h"

namespace zabfs::fsd {
namespace {

constexpr tree::SessionId kSession{8}, kNoSession{};

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
  const std::string largest(tree::Limits().data_bytes(), 'x');
  WriteBuffer fits = open(O_WRONLY | O_TRUNC);
  EXPECT_EQ(write(fits, largest).error, FileError::kOk);
  EXPECT_EQ(append(fits, "x").error, FileError::kTooLarge);
  EXPECT_EQ(close(fits), FileError::kTooLarge);

  WriteBuffer far = open(O_WRONLY);
  EXPECT_EQ(write(far, "x", tree::Limits().data_bytes()).error, FileError::kTooLarge);
  WriteBuffer sized = open(O_WRONLY);
  EXPECT_EQ(sized.resize(tree::Limits().data_bytes(), now_).error, FileError::kOk);
  WriteBuffer::Answer answer = sized.resize(tree::Limits().data_bytes() + 1, now_);
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

TEST_F(WriteBufferTest, AHandleGoesOnFromTheFileThatItEmptied) {
  WriteBuffer handle = open(O_WRONLY);
  replace("");
  handle.emptied(now_);
  write(handle, "W");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "W");
}

TEST_F(WriteBufferTest, AHandleThatEmptiedTheFileTakesNothingOfWhoWroteItSince) {
  WriteBuffer handle = open(O_RDWR);
  replace("");
  replace("another one's");
  handle.emptied(now_);
  EXPECT_EQ(handle.image(now_), "");
  write(handle, "W");
  EXPECT_EQ(handle.image(now_), "W");
  EXPECT_EQ(close(handle), FileError::kStale);
  EXPECT_EQ(data(), "another one's");
}

TEST_F(WriteBufferTest, WholeContentsReplaceWhateverIsThere) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  replace("another one's");
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data(), "new");
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

TEST_F(WriteBufferTest, AReadSeesTheTruncationOfItsOwnHandle) {
  WriteBuffer handle = open(O_RDWR | O_TRUNC);
  EXPECT_EQ(handle.image(now_), "");
  handle.cancel_truncation();
  EXPECT_EQ(open(O_RDWR).image(now_), "old");
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
  EXPECT_EQ(handle.begin_commit(czxid_)->change.mtime, kTime);
}

TEST_F(WriteBufferTest, ATimeDoesNotHoldForDataThatIsWrittenAfterIt) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC);
  write(handle, "new");
  handle.defer_mtime(kTime);
  write(handle, "er", 3);
  EXPECT_FALSE(handle.begin_commit(czxid_)->change.mtime);
}

TEST_F(WriteBufferTest, ATimeDoesNotHoldForASizeThatIsSetAfterIt) {
  WriteBuffer handle = open(O_WRONLY);
  write(handle, "new");
  EXPECT_TRUE(handle.defer_mtime(kTime));
  handle.resize(1, now_);
  EXPECT_FALSE(handle.begin_commit(czxid_)->change.mtime);
}

TEST_F(WriteBufferTest, ATimeIsNotTakenIfThereIsNoDataForIt) {
  EXPECT_FALSE(open(O_WRONLY).defer_mtime(kTime));
  EXPECT_FALSE(open(O_WRONLY | O_TRUNC).defer_mtime(kTime));
  WriteBuffer handle = open(O_WRONLY | O_APPEND);
  append(handle, "+a");
  EXPECT_FALSE(handle.defer_mtime(kTime));
}

// ---- owner, group and mode

constexpr uint32_t kAlice = 1'000;
// As cp and tar make a file.
const tree::PosixEntry kOnlyRoots{tree::Kind::kFile, 0600, 0, 0, {}, 0};

tree::PosixChange to_mode(uint32_t mode, const tree::PosixEntry& committed = kOnlyRoots) {
  tree::PosixChange change;
  change.base = committed;
  change.mode = mode;
  return change;
}

tree::PosixChange to_owner(uint32_t uid, const tree::PosixEntry& committed = kOnlyRoots) {
  tree::PosixChange change;
  change.base = committed;
  change.uid = change.gid = uid;
  return change;
}

TEST_F(WriteBufferTest, OwnerGroupModeAndTimeOfANewFileGoWithItsData) {
  for (int flags : {O_WRONLY, O_WRONLY | O_TRUNC}) {
    WriteBuffer handle = open(flags, true);
    write(handle, "new");
    EXPECT_TRUE(handle.defer_mtime(kTime));
    EXPECT_TRUE(handle.defer_owner_and_mode(to_owner(kAlice)));
    EXPECT_TRUE(handle.defer_owner_and_mode(to_mode(0644)));
    tree::PosixChange shown = handle.deferred().value();
    EXPECT_EQ(shown.mode, 0644u);
    EXPECT_EQ(shown.uid, kAlice);
    EXPECT_EQ(shown.base.mtime_version, now_.version);
    std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
    EXPECT_EQ(commit->change.mode, 0644u);
    EXPECT_EQ(commit->change.uid, kAlice);
    EXPECT_EQ(commit->change.gid, kAlice);
    EXPECT_EQ(commit->change.mtime, kTime);
    EXPECT_TRUE(handle.deferred());
    EXPECT_EQ(finish(handle, *commit), FileError::kOk);
    EXPECT_FALSE(handle.deferred());
    write(handle, "er", 3);
    EXPECT_TRUE(handle.begin_commit(czxid_)->change.is_empty());
  }
}

TEST_F(WriteBufferTest, OwnerAndModeHoldForDataThatIsWrittenAfterThem) {
  WriteBuffer handle = open(O_WRONLY, true);
  write(handle, "new");
  handle.defer_owner_and_mode(to_mode(0644));
  write(handle, "er", 3);
  EXPECT_EQ(handle.begin_commit(czxid_)->change.mode, 0644u);
}

TEST_F(WriteBufferTest, OwnerAndModeAreNotDeferredWithoutNewDataOfANewFile) {
  EXPECT_FALSE(open(O_WRONLY, true).defer_owner_and_mode(to_mode(0644)));
  WriteBuffer edits = open(O_WRONLY);
  write(edits, "x");
  EXPECT_FALSE(edits.defer_owner_and_mode(to_mode(0644)));
  WriteBuffer appends = open(O_WRONLY | O_APPEND, true);
  append(appends, "+a");
  EXPECT_FALSE(appends.defer_owner_and_mode(to_mode(0644)));
  WriteBuffer committed = open(O_WRONLY, true);
  write(committed, "x");
  EXPECT_EQ(close(committed), FileError::kOk);
  EXPECT_FALSE(committed.defer_owner_and_mode(to_mode(0644)));
}

TEST_F(WriteBufferTest, WhatTakesRightsAwayIsCommittedAtOnceAndTheDataBringsNothingBack) {
  tree::PosixEntry readable = kOnlyRoots;
  readable.mode = 0640;
  WriteBuffer handle = open(O_WRONLY, true);
  write(handle, "new");
  EXPECT_TRUE(handle.defer_owner_and_mode(to_mode(0644, readable)));
  EXPECT_FALSE(handle.defer_owner_and_mode(to_mode(0600, readable)));
  EXPECT_EQ(handle.begin_commit(czxid_)->change.mode, 0600u);
}

TEST_F(WriteBufferTest, WhatWasOnlyDeferredMayBeTakenBack) {
  WriteBuffer handle = open(O_WRONLY, true);
  write(handle, "new");
  EXPECT_TRUE(handle.defer_owner_and_mode(to_mode(0644)));
  EXPECT_TRUE(handle.defer_owner_and_mode(to_mode(0600)));
  EXPECT_EQ(handle.begin_commit(czxid_)->change.mode, 0600u);
}

TEST_F(WriteBufferTest, WhatIsSetDuringACommitIsCommittedBehindIt) {
  WriteBuffer handle = open(O_WRONLY, true);
  write(handle, "one");
  handle.defer_owner_and_mode(to_mode(0644));
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  write(handle, ", two", 3);
  EXPECT_FALSE(handle.defer_owner_and_mode(to_mode(0600)));
  EXPECT_EQ(commit->change.mode, 0644u);
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_FALSE(handle.begin_commit(czxid_)->change.mode);
}

TEST_F(WriteBufferTest, ACommitThatComesBackBringsBackNothingThatWasSetSince) {
  WriteBuffer handle = open(O_WRONLY | O_TRUNC, true);
  write(handle, "new");
  handle.defer_owner_and_mode(to_owner(kAlice));
  handle.defer_owner_and_mode(to_mode(0644));
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_, false);
  replace("another one's");
  EXPECT_FALSE(handle.defer_owner_and_mode(to_mode(0600)));
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);  // it did nothing, and nobody asked
  std::optional<WriteBuffer::Commit> again = handle.begin_commit(czxid_);
  EXPECT_EQ(again->change.uid, kAlice);
  EXPECT_FALSE(again->change.mode);
}

TEST_F(WriteBufferTest, WhatSomebodyElseChangedSinceIsNotDeferredAnyMore) {
  tree::PosixEntry now = kOnlyRoots;
  now.mode = 0;
  tree::PosixChange change = to_owner(kAlice);
  change.mode = 0644;
  change.mtime = kTime;
  tree::PosixChange rest = still_holding(change, now);
  EXPECT_FALSE(rest.mode);
  EXPECT_EQ(rest.uid, kAlice);
  EXPECT_EQ(rest.mtime, kTime);
}

TEST_F(WriteBufferTest, OwnerAndModeGoWithDataThatIsRefused) {
  WriteBuffer handle = open(O_WRONLY, true);
  write(handle, "new");
  handle.defer_owner_and_mode(to_mode(0644));
  EXPECT_EQ(close_refused(handle, Error::kQuotaExceeded), FileError::kQuotaExceeded);
  EXPECT_FALSE(handle.deferred());
  EXPECT_EQ(close(handle), FileError::kQuotaExceeded);
}

TEST_F(WriteBufferTest, NothingIsDeferredOfAFileThatIsLostOrRemoved) {
  WriteBuffer lost = open(O_WRONLY, true), removed = open(O_WRONLY, true);
  for (WriteBuffer* handle : {&lost, &removed}) {
    write(*handle, "new");
    handle->defer_owner_and_mode(to_mode(0644));
  }
  lost.lose();
  removed.detach(now_.data);
  EXPECT_FALSE(lost.deferred());
  EXPECT_FALSE(removed.deferred());
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
