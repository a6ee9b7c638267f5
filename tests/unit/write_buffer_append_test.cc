// DESIGN.md, "Reads and writes": appends.
#include "unit/write_buffer_fixture.h"

namespace zabfs::fsd {
namespace {

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
  WriteBuffer::Answer answer =
      handle.append(std::string(tree::Limits().data_bytes() - 4, 'x'), now_);
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
  append(handle, std::string(tree::Limits().data_bytes() - 5, 'x'));
  std::optional<WriteBuffer::Commit> commit = handle.begin_commit(czxid_);
  EXPECT_EQ(append(handle, "xxx").error, FileError::kTooLarge);
  EXPECT_EQ(append(handle, "xx").error, FileError::kOk);
  EXPECT_EQ(finish(handle, *commit), FileError::kOk);
  EXPECT_EQ(close(handle), FileError::kOk);
  EXPECT_EQ(data().size(), tree::Limits().data_bytes());
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
  EXPECT_EQ(write(handle, "x", tree::Limits().data_bytes()).error, FileError::kTooLarge);
  EXPECT_EQ(close(handle), FileError::kTooLarge);
  EXPECT_EQ(data(), "old");

  WriteBuffer other = open(O_WRONLY | O_APPEND);
  EXPECT_EQ(append(other, "+a").error, FileError::kOk);
  EXPECT_EQ(other.resize(tree::Limits().data_bytes() + 1, now_).error, FileError::kTooLarge);
  EXPECT_EQ(close(other), FileError::kTooLarge);
}

}  // namespace
}  // namespace zabfs::fsd
