// DESIGN.md's "Reads and writes", as transcripts of what programs do with files and what they are
// told, down to the millisecond.
#include "unit/files_fixture.h"

namespace zabfs::fsd {
namespace {

// ---- a write is a transaction

TEST_F(FilesTest, EchoOverAFileShowsTheOldOrTheNewAndNothingBetween) {
  put("/f", "old\n");
  uint64_t shell = open("/f", O_WRONLY | O_TRUNC);
  EXPECT_EQ(flush_handle(shell), "0");  // its dup2
  EXPECT_EQ(content("/f"), "old\n");
  EXPECT_EQ(write(shell, "ne", 0), "written 2");
  EXPECT_EQ(write(shell, "w\n", 2), "written 2");
  pass(5'000);
  EXPECT_EQ(content("/f"), "old\n");
  EXPECT_EQ(begin_flush(shell), "waits");  // for the disk
  EXPECT_EQ(content("/f"), "old\n");
  settle();
  EXPECT_EQ(flushed_, Strings{"0"});
  EXPECT_EQ(content("/f"), "new\n");
  int before = released_;
  release(shell);
  EXPECT_EQ(released_, before + 1);
}

TEST_F(FilesTest, AFileIsThereFromItsOpenOnAndEmpty) {
  uint64_t handle = create("/f");
  EXPECT_EQ(content("/f"), "");
  write(handle, "text", 0);
  EXPECT_EQ(content("/f"), "");
  EXPECT_EQ(fsync(handle), "done 0");
  EXPECT_EQ(content("/f"), "text");
}

TEST_F(FilesTest, EachProcessThatEndsUnderASharedRedirectionCommitsItsPart) {
  uint64_t handle = create("/f");
  write(handle, "one\n", 0);
  EXPECT_EQ(flush_handle(handle, kOtherPid), "0");
  EXPECT_EQ(content("/f"), "one\n");
  write(handle, "two\n", 4);
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(content("/f"), "one\ntwo\n");
}

TEST_F(FilesTest, AWriteWithOSyncIsCommittedBeforeItIsAnswered) {
  uint64_t handle = create("/f");
  Asked asked = begin_write(handle, "text", 0, O_WRONLY | O_SYNC);
  wait(0);
  EXPECT_EQ(asked.answer(), "waits");
  settle();
  EXPECT_EQ(asked.answer(), "written 4");
  EXPECT_EQ(content("/f"), "text");
}

// ---- truncation alone

TEST_F(FilesTest, ATruncationAloneIsCommittedByTheSecondFlushOfItsProcess) {
  put("/f", "old");
  uint64_t shell = open("/f", O_WRONLY | O_TRUNC);
  EXPECT_EQ(flush_handle(shell, kPid), "0");
  EXPECT_EQ(content("/f"), "old");
  EXPECT_EQ(flush_handle(shell, kOtherPid), "0");
  EXPECT_EQ(content("/f"), "old");
  EXPECT_EQ(flush_handle(shell, kPid), "0");
  EXPECT_EQ(content("/f"), "");
}

TEST_F(FilesTest, FromItsReleaseOnRequestsWaitForATruncation) {
  put("/f", "old");
  uint64_t shell = open("/f", O_WRONLY | O_TRUNC);
  struct {
    uint32_t length = 56, opcode = 18;
    uint64_t unique = 1, node = 0;
    uint32_t uid = 0, gid = 0, pid = 0, padding = 0;
    uint64_t handle = 0;
    uint64_t rest[2] = {};
  } head;
  head.handle = shell;
  files_.note_request(&head, sizeof(head));
  int seen = 0;
  EXPECT_TRUE(gate_.holds("/f", [&] { ++seen; }));
  EXPECT_FALSE(gate_.holds("/g", [] {}));
  release(shell);
  EXPECT_EQ(seen, 0);
  settle();
  EXPECT_EQ(seen, 1);
  EXPECT_EQ(content("/f"), "");
}

TEST_F(FilesTest, TruncateIsCommittedBeforeItReturns) {
  put("/f", "text");
  KernelNode node = nodes_.held("/f");
  bool done = false;
  Asked asked = this->asked([&](const RequestPtr& request) {
    on_strand([&] {
      files_.resize(request, node, 2, 0, [&, request] { done = request->reply(0) == 0; });
    });
  });
  EXPECT_EQ(asked.answer(), "waits");
  settle();
  EXPECT_TRUE(done);
  EXPECT_EQ(content("/f"), "te");
}

// ---- unknown fates

TEST_F(FilesTest, WithoutAnAnswerInTimeACloseIsUnknownAndTheNextOneWaitsForTheSameCommit) {
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  EXPECT_EQ(begin_flush(handle), "waits");
  on_strand([] {});
  wait(kCommitMs - 1);  // the disk hangs
  EXPECT_TRUE(flushed_.empty());
  wait(101);
  EXPECT_EQ(flushed_, Strings{std::to_string(EIO)});
  Asked again = begin_fsync(handle);
  wait(0);
  EXPECT_EQ(again.answer(), "waits");
  settle();
  EXPECT_EQ(again.answer(), "done 0");
  EXPECT_EQ(content("/f"), "text");
  EXPECT_EQ(replica_->tree().find("/f")->stat.version, 1);  // once
}

// ---- append

TEST_F(FilesTest, AppendsOfTwoHandlesAreAllThere) {
  put("/log", "");
  uint64_t one = open("/log", O_WRONLY | O_APPEND), two = open("/log", O_WRONLY | O_APPEND);
  append(one, "a\n");
  append(two, "b\n");
  append(one, "c\n");
  EXPECT_EQ(close_handle(two), "0");
  EXPECT_EQ(content("/log"), "b\n");
  EXPECT_EQ(close_handle(one), "0");
  EXPECT_EQ(content("/log"), "b\na\nc\n");
}

TEST_F(FilesTest, AnAppendIsCommittedUnaskedWithinASecond) {
  put("/log", "");
  uint64_t handle = open("/log", O_WRONLY | O_APPEND);
  append(handle, "a\n");
  pass(300);
  append(handle, "b\n");
  pass(499);
  EXPECT_EQ(content("/log"), "");
  pass(1);
  EXPECT_EQ(content("/log"), "a\nb\n");
  append(handle, "c\n");
  pass(799);
  EXPECT_EQ(content("/log"), "a\nb\n");
  pass(1);
  EXPECT_EQ(content("/log"), "a\nb\nc\n");
}

TEST_F(FilesTest, AnAppenderTruncatesByACommitOfItsOwn) {
  put("/log", "old\n");
  uint64_t one = open("/log", O_WRONLY | O_APPEND), two = open("/log", O_WRONLY | O_APPEND);
  append(one, "a\n");
  EXPECT_EQ(resize(one, 0), "done 0");
  EXPECT_EQ(content("/log"), "");
  append(one, "b\n");
  append(two, "c\n");
  EXPECT_EQ(close_handle(two), "0");
  pass(800);
  EXPECT_EQ(content("/log"), "c\nb\n");
  EXPECT_EQ(close_handle(one), "0");
}

TEST_F(FilesTest, AnOpenForAppendsThatTruncatesIsCommittedAndThenAppends) {
  put("/log", "old\n");
  uint64_t one = open("/log", O_WRONLY | O_APPEND | O_TRUNC);
  EXPECT_EQ(content("/log"), "");
  append(one, "a\n");
  others_write("/log", "b\n");
  pass(800);
  EXPECT_EQ(content("/log"), "b\na\n");
  EXPECT_EQ(close_handle(one), "0");
}

// ---- copytruncate

TEST_F(FilesTest, ALogThatOthersAppendToIsEmptiedAtOnceAndWithoutACondition) {
  put("/log", "a\n");
  uint64_t rotate = open("/log", O_RDWR);
  others_write("/log", "a\nb\n");
  EXPECT_EQ(resize(rotate, 0), "done 0");
  EXPECT_EQ(content("/log"), "");
  others_write("/log", "c\n");
  EXPECT_EQ(close_handle(rotate), "0");
  EXPECT_EQ(content("/log"), "c\n");
}

TEST_F(FilesTest, AnEmptyingAloneHasNoConditionAtItsCloseEither) {
  put("/log", "a\n");
  uint64_t rotate = open("/log", O_RDWR);
  EXPECT_EQ(resize(rotate, 0), "done 0");
  EXPECT_EQ(content("/log"), "a\n");
  others_write("/log", "a\nb\n");
  EXPECT_EQ(close_handle(rotate), "0");
  EXPECT_EQ(content("/log"), "");
}

TEST_F(FilesTest, AnEditThatEmptiesAndWritesKeepsItsCondition) {
  // A file that was empty is no log: what is there then may be somebody's whole file.
  for (std::string before : {"one", ""}) {
    SCOPED_TRACE(before);
    std::string path = "/was-" + before;
    put(path, before);
    uint64_t editor = open(path, O_RDWR);
    others_write(path, "two");
    EXPECT_EQ(resize(editor, 0), "done 0");
    write(editor, "ONE", 0);
    EXPECT_EQ(close_handle(editor), std::to_string(ESTALE));
    EXPECT_EQ(content(path), "two");
  }
}

// ---- files that are held open

TEST_F(FilesTest, AFileThatAHandleMadeIsCommittedWhileItIsOpen) {
  uint64_t handle = create("/status", O_WRONLY | O_TRUNC);
  write(handle, "10%\n", 0);
  pass(799);
  EXPECT_EQ(content("/status"), "");
  pass(1);
  EXPECT_EQ(content("/status"), "10%\n");
  write(handle, "20%\n", 4);
  pass(800);
  EXPECT_EQ(content("/status"), "10%\n20%\n");
  EXPECT_EQ(close_handle(handle), "0");
}

TEST_F(FilesTest, AFileThatSomebodyElseWroteIsNotCommittedUnasked) {
  uint64_t handle = create("/f", O_WRONLY | O_TRUNC);
  others_write("/f", "other");
  write(handle, "mine", 0);
  pass(5'000);
  EXPECT_EQ(content("/f"), "other");
  EXPECT_EQ(close_handle(handle), "0");  // it replaces the file, as any O_TRUNC
  EXPECT_EQ(content("/f"), "mine");
}

TEST_F(FilesTest, AFileThatIsReplacedShowsNothingBeforeItsClose) {
  put("/f", "old");
  uint64_t handle = open("/f", O_WRONLY | O_TRUNC);
  write(handle, "half", 0);
  pass(5'000);
  EXPECT_EQ(content("/f"), "old");
  EXPECT_EQ(close_handle(handle), "0");
}

// ---- edits in place

TEST_F(FilesTest, OfTwoEditorsTheSecondToCloseLoses) {
  put("/f", "text");
  uint64_t one = open("/f", O_RDWR), two = open("/f", O_RDWR);
  write(one, "T", 0);
  write(two, "X", 0);
  EXPECT_EQ(fsync(one), "done 0");
  EXPECT_EQ(close_handle(two), std::to_string(ESTALE));
  EXPECT_EQ(content("/f"), "Text");
  write(one, "E", 1);
  EXPECT_EQ(close_handle(one), "0");
  EXPECT_EQ(content("/f"), "TExt");
}

TEST_F(FilesTest, AnEditOfAFileThatOthersWroteIsStale) {
  put("/f", "text");
  uint64_t handle = open("/f", O_RDWR);
  others_write("/f", "other");
  write(handle, "T", 0);
  EXPECT_EQ(close_handle(handle), std::to_string(ESTALE));
  EXPECT_EQ(content("/f"), "other");
}

TEST_F(FilesTest, AWriterOfARemovedFileNeverWritesToItsSuccessor) {
  put("/f", "old");
  uint64_t handle = open("/f", O_RDWR);
  others_remove("/f");
  put("/f", "new");
  EXPECT_EQ(write(handle, "X", 0), "written 1");
  EXPECT_EQ(read(handle), "bytes Xld");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(content("/f"), "new");
}

TEST_F(FilesTest, HandlesOfARemovedFileShareWhatWasWritten) {
  put("/f", "old");
  uint64_t writer = open("/f", O_RDWR), reader = open("/f", O_RDONLY);
  write(writer, "OLDER", 0);
  EXPECT_EQ(read(reader), "bytes old");
  others_remove("/f");
  EXPECT_EQ(read(reader), "bytes OLDER");
  EXPECT_EQ(append(writer, "+a"), "written 2");
  EXPECT_EQ(read(reader), "bytes OLDER+a");
  EXPECT_EQ(resize(writer, 2), "done 0");
  EXPECT_EQ(read(reader), "bytes OL");
  EXPECT_EQ(close_handle(writer), "0");
  EXPECT_EQ(content("/f"), "(none)");
}

TEST_F(FilesTest, AFileThatIsRenamedOverKeepsItsContentsForItsHandles) {
  put("/f", "old");
  put("/g", "new");
  uint64_t reader = open("/f", O_RDONLY), writer = open("/f", O_RDWR);
  uint64_t source = open("/g", O_RDWR);
  rename("/g", "/f");
  EXPECT_EQ(read(reader), "bytes old");
  EXPECT_EQ(write(writer, "O", 0), "written 1");
  EXPECT_EQ(close_handle(writer), "0");
  write(source, "N", 0);
  EXPECT_EQ(close_handle(source), "0");
  EXPECT_EQ(content("/f"), "New");
}

TEST_F(FilesTest, ACommitThatComesBehindTheRemovalIsNoError) {
  put("/f", "old");
  uint64_t handle = open("/f", O_RDWR);
  write(handle, "OLD", 0);
  on_strand([&] {
    replica_->submit(tree::superuser_request(SessionId{}, -1, OpCode::kDelete,
                                             tree::delete_body("/f", tree::kAnyVersion)),
                     nullptr);
  });
  EXPECT_EQ(begin_flush(handle), "waits");
  settle();
  EXPECT_EQ(flushed_, Strings{"0"});
  EXPECT_EQ(read(handle), "bytes OLD");
}

TEST_F(FilesTest, AnEditFollowsItsFileWhenThatIsRenamed) {
  put("/f", "text");
  uint64_t handle = open("/f", O_RDWR);
  write(handle, "T", 0);
  rename("/f", "/g");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(content("/g"), "Text");
  EXPECT_EQ(content("/f"), "(none)");
}

TEST_F(FilesTest, AnEditThatWasBehindStaysBehindAfterARename) {
  put("/f", "text");
  uint64_t handle = open("/f", O_RDWR);
  others_write("/f", "other");
  write(handle, "T", 0);
  rename("/f", "/g");
  EXPECT_EQ(close_handle(handle), std::to_string(ESTALE));
  EXPECT_EQ(content("/g"), "other");
}

// ---- locks

TEST_F(FilesTest, AHandleThatGetsALockEditsWhatIsThereByThen) {
  put("/f", "text");
  uint64_t handle = open("/f", O_RDWR);
  others_write("/f", "other");
  on_strand([&] { files_.lock_granted(handle); });
  write(handle, "O", 0);
  bool is_committed = false;
  on_strand([&] { files_.commit(handle, [&] { is_committed = true; }); });
  EXPECT_FALSE(is_committed);
  settle();
  EXPECT_TRUE(is_committed);
  EXPECT_EQ(content("/f"), "Other");
}

TEST_F(FilesTest, AHandleWhoseLockIsLostChangesNothing) {
  put("/f", "text");
  uint64_t handle = open("/f", O_RDWR);
  on_strand([&] { files_.lock_granted(handle); });
  write(handle, "X", 0);
  on_strand([&] { files_.lock_lost(handle); });
  EXPECT_EQ(read(handle), "done " + std::to_string(ESTALE));
  EXPECT_EQ(close_handle(handle), std::to_string(ESTALE));
  EXPECT_EQ(content("/f"), "text");
}

// ---- reads

TEST_F(FilesTest, AReaderSeesOneVersionFromItsStartToItsEnd) {
  put("/f", "version one");
  uint64_t reader = open("/f", O_RDONLY);
  EXPECT_EQ(read(reader), "bytes version one");
  others_write("/f", "version two!");
  EXPECT_EQ(read(reader, 8), "bytes one");
  EXPECT_EQ(read(reader, 11), "bytes ");   // the end, told
  EXPECT_EQ(read(reader, 11), "bytes !");  // as tail -f
  EXPECT_EQ(read(reader), "bytes version two!");
}

TEST_F(FilesTest, AWriterSeesWhatItWroteAndOthersDoNot) {
  put("/f", "text");
  uint64_t writer = open("/f", O_RDWR), reader = open("/f", O_RDONLY);
  write(writer, "T", 0);
  EXPECT_EQ(read(writer), "bytes Text");
  EXPECT_EQ(read(reader), "bytes text");
}

TEST_F(FilesTest, AnOpenFileThatWasRemovedStaysReadable) {
  put("/f", "text");
  uint64_t reader = open("/f", O_RDONLY);
  others_remove("/f");
  EXPECT_EQ(read(reader), "bytes text");
}

// What was removed is the second version, and the pass began with the first.
TEST_F(FilesTest, APassGoesOnInItsVersionAfterItsFileWasWrittenAndRemoved) {
  put("/f", "version one");
  uint64_t reader = open("/f", O_RDONLY);
  EXPECT_EQ(read(reader), "bytes version one");
  others_write("/f", "two");
  others_remove("/f");
  EXPECT_EQ(read(reader, 8), "bytes one");
  EXPECT_EQ(read(reader), "bytes two");
}

TEST_F(FilesTest, APassGoesOnInItsVersionAfterAnotherFileWasRenamedOverIt) {
  put("/f", "version one");
  put("/g", "another");
  uint64_t reader = open("/f", O_RDONLY);
  EXPECT_EQ(read(reader), "bytes version one");
  others_write("/f", "version two!");
  rename("/g", "/f");
  EXPECT_EQ(read(reader, 8), "bytes one");
  EXPECT_EQ(read(reader, 11), "bytes ");
  EXPECT_EQ(read(reader, 11), "bytes !");
}

// The kernel has the size that the file had last.
TEST_F(FilesTest, PagesOfARemovedFileAreOfItsLastVersion) {
  put("/f", "version one");
  uint64_t reader = open("/f", O_RDONLY);
  EXPECT_EQ(read(reader), "bytes version one");
  others_write("/f", "version two!");
  others_remove("/f");
  EXPECT_EQ(read_page(reader, 8), "bytes two!");
  EXPECT_EQ(read(reader, 8), "bytes one");
}

TEST_F(FilesTest, APassSeesNothingThatAWriterOfTheRemovedFileHadNotCommitted) {
  put("/f", "version one");
  uint64_t reader = open("/f", O_RDONLY), writer = open("/f", O_WRONLY | O_TRUNC);
  EXPECT_EQ(read(reader), "bytes version one");
  write(writer, "from the writer", 0);
  others_remove("/f");
  EXPECT_EQ(read(reader, 8), "bytes one");
  EXPECT_EQ(read(reader), "bytes from the writer");
}

}  // namespace
}  // namespace zabfs::fsd
