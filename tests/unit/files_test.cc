// DESIGN.md's "Reads and writes", as transcripts of what programs do with files and what they are
// told, down to the millisecond. The mount's parts are real and stand on a real replica; the kernel
// is the test.
#include "fsd/fuse/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fsd/fuse/changes.h"
#include "fsd/fuse/errno.h"
#include "unit/recorded_replies.h"
#include "unit/session_fixture.h"

namespace zabfs::fsd {
namespace {

using Strings = std::vector<std::string>;

class RecordedNotifications : public Notifications {
 public:
  bool forget_attributes(KernelNode node) override {
    forgotten.push_back(node);
    return true;
  }
  void forget_pages(KernelNode, std::string_view) override {}
  bool forget_names() override { return true; }

  std::vector<KernelNode> forgotten;
};

class FilesTest : public SessionTest, public consensus::ReplicaListener {
 protected:
  FilesTest() {
    replica_->add_listener(this);
    on_strand([this] { writer_.start(); });
    replies_->who = {kPid, 1'000, 1'000};
  }
  ~FilesTest() override { replies_->close(); }

  // ReplicaListener
  void before_publish(const std::vector<tree::Txn>& txns) override {
    TxnBatch batch(txns, replica_->tree());
    std::vector<std::optional<RenameSeen>> renames;
    for (size_t n = 0; n < txns.size(); ++n) renames.push_back(batch.rename_in(n));
    cache_.begin_change(txns, renames, nullptr);
  }
  void publishing(std::span<const tree::Change> changes) override { cache_.publishing(changes); }
  void published(const std::vector<tree::Change>&) override { cache_.end_change(); }

  // Everything that can be done at this moment is done: the disk works, and no time passes.
  void settle() {
    for (int i = 0; i < 8; ++i) {
      wait(0);
      run();
    }
  }
  // Time passes with a disk that works, as in `live`, but for a step of one millisecond.
  void pass(int64_t ms) {
    for (int64_t end_ms = now_ms_ + ms; now_ms_ < end_ms; settle()) now_ms_ += 1;
  }
  // A request that was asked. Nobody but the mount holds it.
  class Asked {
   public:
    Asked(const FilesTest& test, size_t number) : test_(test), number_(number) {}
    // What it was answered by now; "waits" if it was not.
    std::string answer() const {
      for (const auto& [req, answer] : test_.replies_->answers) {
        if (req == test_.req_of(number_)) return answer;
      }
      return "waits";
    }

   private:
    const FilesTest& test_;
    size_t number_;
  };
  Asked asked(const std::function<void(const RequestPtr&)>& ask) {
    requests_.push_back(std::make_unique<char>());
    size_t number = requests_.size() - 1;
    ask(std::make_shared<Request>(req_of(number), replies_));
    return {*this, number};
  }
  fuse_req_t req_of(size_t number) const {
    return reinterpret_cast<fuse_req_t>(requests_[number].get());
  }
  static fuse_file_info info_of(uint64_t handle, int flags) {
    fuse_file_info info = {};
    info.fh = handle;
    info.flags = flags;
    info.lock_owner = 1;  // a program's, not the page cache's
    return info;
  }

  // ---- what programs do
  // A new file, open for writing; its handle.
  uint64_t create(const std::string& path, int flags = O_WRONLY) {
    Asked made = asked([&](const RequestPtr& request) {
      files_.create(request, path, 0644, info_of(0, flags | O_CREAT));
    });
    settle();
    EXPECT_EQ(made.answer(), "created " + std::to_string(replies_->handle));
    return replies_->handle;
  }
  // A file with that content, which nobody has open.
  void put(const std::string& path, const std::string& text) {
    uint64_t handle = create(path);
    write(handle, text, 0);
    EXPECT_EQ(close_handle(handle), "0");
  }
  uint64_t open(const std::string& path, int flags) {
    fuse_entry_param entry = {};
    replica_->read([&](const tree::Tree& tree) {
      EXPECT_TRUE(answers_.fill_entry(tree, path, false, entry));
    });
    Asked opened = asked([&](const RequestPtr& request) {
      files_.open(request, *nodes_.find(entry.ino), info_of(0, flags));
    });
    settle();
    EXPECT_EQ(opened.answer(), "opened " + std::to_string(replies_->handle));
    return replies_->handle;
  }
  // Where the write was answered without delay: "written 3" or "done ERRNO".
  std::string write(uint64_t handle, const std::string& text, off_t offset, int flags = O_WRONLY) {
    Asked written = begin_write(handle, text, offset, flags);
    wait(0);
    return written.answer();
  }
  Asked begin_write(uint64_t handle, const std::string& text, off_t offset, int flags) {
    return asked([&](const RequestPtr& request) {
      files_.write(request, node_of(handle), text, offset, info_of(handle, flags));
    });
  }
  std::string append(uint64_t handle, const std::string& text) {
    return write(handle, text, 0, O_WRONLY | O_APPEND);
  }
  // ftruncate(2), with a disk that works.
  std::string resize(uint64_t handle, off_t size) {
    Asked asked = this->asked([&](const RequestPtr& request) {
      on_strand([&] {
        files_.resize(request, node_of(handle), size, handle, [request] { request->reply(0); });
      });
    });
    settle();
    return asked.answer();
  }
  std::string read(uint64_t handle, off_t offset = 0) {
    Asked asked = this->asked([&](const RequestPtr& request) {
      files_.read(request, node_of(handle), 100, offset, info_of(handle, O_RDONLY));
    });
    wait(0);
    return asked.answer();
  }
  std::string read_page(uint64_t handle, off_t offset) {
    Asked asked = this->asked([&](const RequestPtr& request) {
      fuse_file_info info = info_of(handle, O_RDONLY);
      info.lock_owner = 0;
      files_.read(request, node_of(handle), 100, offset, info);
    });
    wait(0);
    return asked.answer();
  }
  // What close(2) returns: the FLUSH. Then its RELEASE.
  std::string close_handle(uint64_t handle) {
    std::string result = flush_handle(handle);
    release(handle);
    settle();
    return result;
  }
  // The FLUSH alone, with a disk that works.
  std::string flush_handle(uint64_t handle, pid_t by = kPid) {
    std::string result = begin_flush(handle, by);
    settle();
    return flushed_.empty() ? result : flushed_.back();
  }
  std::string begin_flush(uint64_t handle, pid_t by = kPid) {
    flushed_.clear();
    on_strand([&] {
      files_.flush(handle, by, [this](FileError error) {
        flushed_.push_back(std::to_string(to_errno(error)));
      });
    });
    return flushed_.empty() ? "waits" : flushed_.back();
  }
  void release(uint64_t handle) {
    on_strand([&] { files_.release(handle, [this] { ++released_; }); });
  }
  Asked begin_fsync(uint64_t handle) {
    return asked([&](const RequestPtr& request) { EXPECT_TRUE(files_.fsync(request, handle)); });
  }
  std::string fsync(uint64_t handle) {
    Asked asked = begin_fsync(handle);
    settle();
    return asked.answer();
  }
  // chmod(2), chown(2) and utimens(2), with a disk that works. True if they were deferred.
  bool set(uint64_t handle, tree::PosixChange change) {
    std::string path = nodes_.find(node_of(handle))->path;
    change.base = posix_of(committed(path));
    size_t before = zxid();
    Asked asked = this->asked([&](const RequestPtr& request) {
      struct stat wanted = {};
      int set = 0;
      if (change.mode) set |= FUSE_SET_ATTR_MODE;
      if (change.uid) set |= FUSE_SET_ATTR_UID;
      if (change.gid) set |= FUSE_SET_ATTR_GID;
      if (change.mtime) set |= FUSE_SET_ATTR_MTIME;
      wanted.st_mode = change.mode.value_or(0);
      wanted.st_uid = change.uid.value_or(0);
      wanted.st_gid = change.gid.value_or(0);
      if (change.mtime) wanted.st_mtim = {change.mtime->seconds, change.mtime->nanoseconds};
      changes_.set_attributes(request, node_of(handle), wanted, set, 0);
    });
    settle();
    EXPECT_TRUE(asked.answer().starts_with("size ")) << asked.answer();
    return zxid() == before;
  }
  static tree::PosixChange to_mode(uint32_t mode) {
    tree::PosixChange change;
    change.mode = mode;
    return change;
  }
  static tree::PosixChange to_owner(uint32_t uid) {
    tree::PosixChange change;
    change.uid = change.gid = uid;
    return change;
  }
  // What this node shows, and what is committed: "MODE UID SECONDS", the time if it was set.
  std::string shown(const std::string& path) const {
    return text_of(reader_.view(replica_->tree(), *replica_->tree().find(path), path));
  }
  std::string everywhere(const std::string& path) const { return text_of(committed(path)); }
  View committed(const std::string& path) const {
    return reader_.committed_view(replica_->tree(), *replica_->tree().find(path), path);
  }
  static std::string text_of(const View& view) {
    std::string mtime = view.has_set_mtime ? std::to_string(view.mtime.seconds) : "-";
    return fmt::format("{:o} {} {}", view.mode, view.uid, mtime);
  }
  // How many txns were committed.
  size_t zxid() const { return static_cast<size_t>(replica_->tree().last_zxid().value); }
  // What everybody sees, on all nodes.
  std::string content(const std::string& path) {
    const tree::ZNode* znode = replica_->tree().find(path);
    return znode == nullptr ? "(none)" : std::string(znode->data.view());
  }
  // ---- what others do
  void others_write(const std::string& path, const std::string& text) {
    submit(OpCode::kSetData, tree::set_data_body(path, text, tree::kAnyVersion));
  }
  void others_remove(const std::string& path) {
    submit(OpCode::kDelete, tree::delete_body(path, tree::kAnyVersion));
  }
  void others_set_mode(const std::string& path, uint32_t mode) {
    tree::ExtSetPosix op{path, replica_->tree().find(path)->stat.czxid, to_mode(mode)};
    submit(OpCode::kExtSetPosix, encode(op));
  }
  void rename(const std::string& from, const std::string& to) {
    tree::ExtRename op;
    op.from = from;
    op.to = to;
    op.from_czxid = replica_->tree().find(from)->stat.czxid;
    submit(OpCode::kExtRename, encode(op));
  }
  void submit(OpCode type, std::string body) {
    on_strand([&] {
      replica_->submit(tree::superuser_request(SessionId{}, -1, type, std::move(body)), nullptr);
    });
    settle();
  }
  KernelNode node_of(uint64_t handle) const {
    Files::FilePtr file = files_.find(handle);
    return file ? file->node : 0;
  }

  static constexpr pid_t kPid = 42, kOtherPid = 43;
  static constexpr Asker kRoot = {kPid, 0, 0};
  std::vector<std::unique_ptr<char>> requests_;  // whose addresses are their fuse_req_t
  std::shared_ptr<RecordedReplies> replies_ = std::make_shared<RecordedReplies>();
  RecordedNotifications notifications_;
  NodeTable nodes_;
  DeferredAttributes deferred_;
  NodeReader reader_{*this, nodes_, deferred_, {}};
  OwnWrites writes_{*this, session_, writer_};
  FileLocks file_locks_{locks_,
                        {[this](uint64_t handle) { files_.lock_granted(handle); },
                         [this](uint64_t handle) { files_.lock_given_up(handle); },
                         [this](uint64_t handle) { files_.lock_lost(handle); }}};
  PageTurns turns_{*this, notifications_, nodes_, reader_, 0};
  OpenFiles open_;
  KernelCache cache_{
      *this,
      notifications_,
      nodes_,
      reader_,
      turns_,
      {[this](auto changes, const RenameSeen& rename) { files_.follow(changes, rename); },
       [this](KernelNode node, const tree::Bytes& last) { orphans_.gone(node, last); }}};
  Replayer replayer_;
  NodeAnswers answers_{nodes_, open_, reader_, cache_, turns_, replayer_};
  ReleaseGate gate_;
  HandleNumbers numbers_;
  FileCommits commits_{*this, notifications_, nodes_, deferred_, reader_, writes_, writer_, 1'000};
  Orphans orphans_{nodes_, open_, answers_, turns_, commits_, numbers_};
  Files files_{{*this, notifications_, nodes_, open_, reader_, answers_, turns_, writes_, commits_,
                orphans_, gate_, numbers_, session_, file_locks_}};
  Changes changes_{*this, reader_, answers_, cache_, writes_, files_};
  Strings flushed_;
  int released_ = 0;
};

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
  put("/f", "one");
  uint64_t editor = open("/f", O_RDWR);
  others_write("/f", "two");
  EXPECT_EQ(resize(editor, 0), "done 0");
  write(editor, "ONE", 0);
  EXPECT_EQ(close_handle(editor), std::to_string(ESTALE));
  EXPECT_EQ(content("/f"), "two");
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

TEST_F(FilesTest, ATimeThatIsSetBeforeTheCloseGoesWithTheData) {
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  tree::PosixChange change;
  change.mtime = tree::Time{1'000, 5};
  EXPECT_TRUE(set(handle, change));
  EXPECT_EQ(close_handle(handle), "0");
  const tree::Tree& tree = replica_->tree();
  View shown = reader_.view(tree, *tree.find("/f"), "/f");
  EXPECT_EQ(shown.mtime.seconds, 1'000);
  EXPECT_EQ(shown.size, 4u);
}

// ---- owner, mode and time of a new file

// As cp -a and tar -x do it.
TEST_F(FilesTest, ACopyIsTwoCommits) {
  replies_->who = kRoot;
  size_t before = zxid();
  uint64_t handle = create("/f", O_WRONLY | O_EXCL);
  EXPECT_EQ(zxid(), before + 1);
  write(handle, "text", 0);
  tree::PosixChange time;
  time.mtime = tree::Time{1'000, 5};
  EXPECT_TRUE(set(handle, time));
  EXPECT_TRUE(set(handle, to_owner(1'001)));
  EXPECT_TRUE(set(handle, to_mode(0664)));
  EXPECT_EQ(shown("/f"), "664 1001 1000");
  EXPECT_EQ(everywhere("/f"), "644 0 -");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "664 1001 1000");
  EXPECT_EQ(content("/f"), "text");
  EXPECT_EQ(zxid(), before + 3);  // ZooKeeper has no txn of an ACL and data
}

TEST_F(FilesTest, FsyncAndTheCommitThatNobodyAskedForTakeThemAlong) {
  uint64_t handle = create("/f");
  write(handle, "one", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  EXPECT_EQ(fsync(handle), "done 0");
  EXPECT_EQ(everywhere("/f"), "664 1000 -");
  write(handle, ", two", 3);
  EXPECT_TRUE(set(handle, to_mode(0666)));
  pass(800);
  EXPECT_EQ(everywhere("/f"), "666 1000 -");
  EXPECT_EQ(content("/f"), "one, two");
  EXPECT_FALSE(set(handle, to_mode(0777)));  // there is no data that it could go with
  EXPECT_EQ(everywhere("/f"), "777 1000 -");
}

TEST_F(FilesTest, AModeThatTakesRightsAwayIsCommittedAtOnceAndBeforeTheData) {
  uint64_t handle = create("/f");
  write(handle, "secret", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  EXPECT_FALSE(set(handle, to_mode(0600)));
  EXPECT_EQ(everywhere("/f"), "600 1000 -");
  EXPECT_EQ(shown("/f"), "600 1000 -");
  EXPECT_EQ(content("/f"), "");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "600 1000 -");
  EXPECT_EQ(content("/f"), "secret");
}

TEST_F(FilesTest, WhatIsDeferredGoesAlongWithARename) {
  replies_->who = kRoot;
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  tree::PosixChange change = to_owner(1'001);
  change.mode = 0664;
  change.mtime = tree::Time{1'000, 5};
  EXPECT_TRUE(set(handle, change));
  rename("/f", "/g");
  EXPECT_EQ(shown("/g"), "664 1001 1000");
  EXPECT_FALSE(nodes_.is_stable("/g"));  // the kernel is not to keep these attributes
  EXPECT_TRUE(nodes_.is_stable("/f"));
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/g"), "664 1001 1000");
  EXPECT_EQ(content("/g"), "text");
  EXPECT_TRUE(nodes_.is_stable("/g"));
}

TEST_F(FilesTest, WhatSomebodyElseSetsSinceStays) {
  replies_->who = kRoot;
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  tree::PosixChange change = to_owner(1'001);
  change.mode = 0664;
  EXPECT_TRUE(set(handle, change));
  others_set_mode("/f", 0400);
  EXPECT_EQ(shown("/f"), "400 1001 -");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "400 1001 -");
}

TEST_F(FilesTest, ACloseTellsThatTheyWereNotCommitted) {
  uint64_t handle = create("/f", O_WRONLY | O_EXCL);
  write(handle, "text", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  uint64_t other = open("/f", O_WRONLY);
  write(other, "other", 0);
  EXPECT_EQ(close_handle(other), "0");
  EXPECT_EQ(shown("/f"), "664 1000 -");
  EXPECT_EQ(everywhere("/f"), "644 1000 -");
  EXPECT_EQ(close_handle(handle), std::to_string(ESTALE));
  EXPECT_EQ(shown("/f"), "644 1000 -");
  EXPECT_EQ(content("/f"), "other");
}

// The kernel has two nodes of one file if a thread took its answer late.
TEST_F(FilesTest, TheyAreDeferredAndShownByWhateverNodeOfTheFile) {
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  nodes_.set_aside(node_of(handle));
  uint64_t reader = open("/f", O_RDONLY);
  ASSERT_NE(node_of(reader), node_of(handle));
  EXPECT_TRUE(set(reader, to_mode(0664)));
  EXPECT_EQ(shown("/f"), "664 1000 -");
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "664 1000 -");
}

TEST_F(FilesTest, AFileThatIsRemovedKeepsThemForItsHandles) {
  uint64_t handle = create("/f");
  write(handle, "text", 0);
  EXPECT_TRUE(set(handle, to_mode(0664)));
  others_remove("/f");
  EXPECT_EQ(nodes_.find(node_of(handle))->last->st_mode, S_IFREG | 0664u);
  EXPECT_EQ(close_handle(handle), "0");
}

TEST_F(FilesTest, AWriteTakesADeferredSetuidAwayWithoutACommit) {
  uint64_t handle = create("/f");
  write(handle, "te", 0);
  EXPECT_TRUE(set(handle, to_mode(04755)));
  size_t before = zxid();
  write(handle, "xt", 2);
  EXPECT_EQ(shown("/f"), "755 1000 -");
  EXPECT_EQ(zxid(), before);
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "755 1000 -");
}

TEST_F(FilesTest, AWriteTakesACommittedSetuidAwayBeforeItIsAnswered) {
  uint64_t handle = create("/f");
  EXPECT_FALSE(set(handle, to_mode(04755)));
  Asked asked = begin_write(handle, "text", 0, O_WRONLY);
  settle();
  EXPECT_EQ(asked.answer(), "written 4");
  EXPECT_EQ(everywhere("/f"), "755 1000 -");
  EXPECT_EQ(content("/f"), "");
  EXPECT_TRUE(set(handle, to_mode(04755)));
  EXPECT_EQ(close_handle(handle), "0");
  EXPECT_EQ(everywhere("/f"), "4755 1000 -");
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
