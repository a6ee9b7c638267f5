// The mount's parts that serve files. They are real and stand on a real replica; the kernel is the
// test.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "fsd/fuse/changes.h"
#include "fsd/fuse/errno.h"
#include "fsd/fuse/files.h"
#include "unit/recorded_replies.h"
#include "unit/session_fixture.h"

namespace zabfs::fsd {

using Strings = std::vector<std::string>;

class RecordedNotifications : public Notifications {
 public:
  bool forget_attributes(KernelNode node) override {
    forgotten.push_back(node);
    return true;
  }
  void forget_pages(KernelNode, std::string_view) override {}
  bool forget_name(KernelNode, const std::string&) override { return true; }
  bool forget_names() override { return true; }

  std::vector<KernelNode> forgotten;
};

class NoOtherThreads : public NameForgetter, public CallerThreads {
 public:
  bool forget(const std::vector<NodeTable::HeldName>&) override { return true; }
  bool may_change_names(pid_t) override { return false; }
  bool may_look_up(pid_t) override { return false; }
  bool wait_until(const std::function<bool()>& condition) override { return condition(); }
};

class FilesTest : public SessionTest, public consensus::ReplicaListener {
 protected:
  FilesTest() : FilesTest(notifications_, no_threads_, no_threads_) {}
  FilesTest(Notifications& kernel, NameForgetter& forgetter, CallerThreads& callers)
      : kernel_(kernel), forgetter_(forgetter), callers_(callers) {
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
    return read_by(info_of(handle, O_RDONLY), offset);
  }
  // As the kernel fills its page cache.
  std::string read_page(uint64_t handle, off_t offset) {
    fuse_file_info info = info_of(handle, O_RDONLY);
    info.lock_owner = 0;
    return read_by(info, offset);
  }
  std::string read_by(const fuse_file_info& info, off_t offset) {
    Asked asked = this->asked([&](const RequestPtr& request) {
      files_.read(request, node_of(info.fh), 100, offset, info);
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
  NoOtherThreads no_threads_;
  Notifications& kernel_;
  NameForgetter& forgetter_;
  CallerThreads& callers_;
  NodeTable nodes_;
  DeferredAttributes deferred_;
  NodeReader reader_{*this, nodes_, deferred_, {}};
  OwnWrites writes_{*this, session_, writer_};
  FileLocks file_locks_{locks_,
                        {[this](uint64_t handle) { files_.lock_granted(handle); },
                         [this](uint64_t handle) { files_.lock_given_up(handle); },
                         [this](uint64_t handle) { files_.lock_lost(handle); }}};
  PageTurns turns_{*this, kernel_, nodes_, reader_, 0};
  OpenFiles open_;
  KernelCache cache_{
      *this,
      kernel_,
      nodes_,
      reader_,
      writes_,
      turns_,
      forgetter_,
      callers_,
      {[this](auto changes, const RenameSeen& rename) { files_.follow(changes, rename); },
       [this](KernelNode node, const tree::Bytes& last) { orphans_.gone(node, last); }}};
  Replayer replayer_{*this};
  NodeAnswers answers_{nodes_, open_, reader_, cache_, turns_, replayer_};
  ReleaseGate gate_;
  HandleNumbers numbers_;
  FileCommits commits_{*this, kernel_, nodes_, deferred_, reader_, writes_, writer_, 1'000};
  Orphans orphans_{
      nodes_, open_, answers_, turns_, commits_, numbers_, tree::Limits().data_bytes()};
  Files files_{{*this, notifications_, nodes_, open_, reader_, answers_, turns_, writes_, commits_,
                orphans_, gate_, numbers_, session_, file_locks_}};
  Changes changes_{*this, reader_, answers_, cache_, writes_, files_};
  Strings flushed_;
  int released_ = 0;
};

}  // namespace zabfs::fsd
