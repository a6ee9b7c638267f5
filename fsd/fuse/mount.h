// The mount: a replica's tree as a filesystem.
//
// FUSE workers read on their own thread, under the tree's shared lock; everything that writes runs
// on the replica's strand and is answered from there, when it is committed. No worker waits.
// Commits reach the kernel's caches through `before_publish`: first the kernel forgets, then the
// tree changes (node_table.h), so a program never sees old after new. An answer that was given
// before must not get into a cache after that. The kernel drops one that a notification overtook: a
// name by its epoch, the attributes of a node that it has by their version. It takes those of a
// node that it doesn't have yet, wherefore they are not to be kept (`fill_entry`).
// Files: mount.cc (life, commits), mount_names.cc (lookup, attributes, directories),
// mount_files.cc (open, read, write), mount_commit.cc (close, fsync), mount_pages.cc (contents
// through the page cache), mount_changes.cc (mkdir, unlink, rename, setattr), mount_control.cc (the
// control room), mount_locks.cc, mount_replay.cc (inotify for what others do), operations.cc (the
// table for libfuse).
#pragma once

#include <atomic>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "consensus/lane.h"
#include "consensus/service.h"
#include "fsd/fuse/config.h"
#include "fsd/fuse/file_locks.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/kernel.h"
#include "fsd/fuse/landing_threads.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/open_file.h"
#include "fsd/fuse/page_cache.h"
#include "fsd/fuse/reader_threads.h"
#include "fsd/fuse/release_gate.h"
#include "fsd/fuse/replay.h"
#include "fsd/fuse/request.h"
#include "fsd/fuse/txn_view.h"
#include "fsd/fuse/write_buffer.h"
#include "fsd/recipes/room.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"
#include "fsd/view/view.h"

namespace zabfs::fsd {

const fuse_lowlevel_ops& mount_operations();

// Names that an operation of this kernel's takes away or moves, and the thread that asked for it.
struct LocalChange {
  std::vector<std::string> names;
  pid_t thread = 0;
};

class Mount : public consensus::ReplicaListener {
 public:
  Mount(consensus::Service& service, MountConfig config, std::string data_dir);
  ~Mount() override;

  std::string mount();
  // Follows the replica from here on, and gives a new tree's root its mode.
  void attach();
  // Starts to serve; `on_end` runs when somebody unmounts it. Before that it waits, for seconds at
  // most, until it is known which of the txns in a crashed node's log were committed, and a new
  // tree's root has its mode.
  void start(std::function<void()> on_end);
  // Closes the session (so that locks and ephemerals go at once), unmounts, joins.
  void stop();

  // ReplicaListener, on the strand.
  void before_publish(const std::vector<tree::Txn>& txns) override;
  void publishing(std::span<const tree::Change> changes) override;
  void published(const std::vector<tree::Change>& changes) override;
  void before_replace() override;
  void tree_replaced() override;
  void standing_changed() override;

  // ---- operations, on FUSE workers
  void init(fuse_conn_info* connection);
  void lookup(fuse_req_t req, fuse_ino_t parent, const char* name);
  void lookup_child(fuse_req_t req, fuse_ino_t parent, const std::string& name);
  void forget(fuse_ino_t node, uint64_t lookups) {
    if (nodes_.forget(node, lookups)) pages_->forget(node);
  }
  void getattr(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info);
  void setattr(fuse_req_t req, fuse_ino_t node, const struct stat* attributes, int set,
               const fuse_file_info* info);
  void readlink(fuse_req_t req, fuse_ino_t node);
  void make_node(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode);
  void mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode);
  void symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name);
  void remove(fuse_req_t req, fuse_ino_t parent, const char* name, bool directory);
  void rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
              const char* new_name, unsigned flags);
  void create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
              const fuse_file_info* info);
  void open(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info);
  void read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, const fuse_file_info* info);
  void write(fuse_req_t req, fuse_ino_t node, const char* bytes, size_t size, off_t offset,
             const fuse_file_info* info);
  void flush(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info);
  void release(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info);
  void fsync(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info);
  void opendir(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info);
  void readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
               const fuse_file_info* info);
  void releasedir(fuse_req_t req, const fuse_file_info* info);
  void barrier(fuse_req_t req);
  void statfs(fuse_req_t req);
  void getxattr(fuse_req_t req, fuse_ino_t node, const char* name, size_t size);
  void listxattr(fuse_req_t req, fuse_ino_t node, size_t size);
  void flock(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info, int operation);
  void setlk(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info, const struct flock* lock,
             bool wait);
  void getlk(fuse_req_t req, fuse_ino_t node, const fuse_file_info* info, const struct flock* lock);
  void poll(fuse_req_t req, const fuse_file_info* info, fuse_pollhandle* handle);

 private:
  using FilePtr = std::shared_ptr<OpenFile>;
  // An open directory's names, in the order of their cookies. A cookie is the offset behind a name;
  // it is the same in every listing, so that whoever goes on in another one, or in one that changed
  // since, neither skips nor repeats a name that was there all the time.
  struct Listing {
    bool is_cached = false;  // the kernel puts what it is given into its cache
    std::vector<std::pair<off_t, std::string>> names;
    tree::Zxid as_of;  // the last change of names that they have
    std::mutex mutex;  // guards names and as_of
  };
  // An open file of the control room.
  struct ControlFile {
    std::shared_ptr<Handle> handle;
    fuse_pollhandle* poll = nullptr;
  };
  using ControlPtr = std::shared_ptr<ControlFile>;

  // -- answering
  using Completion = consensus::Replica::Completion;
  // A write by `Writer`.
  void commit(tree::OpCode type, std::string body, Completion done, Completion late = nullptr,
              LocalChange local = {}, tree::SessionId only = {});
  // Runs `body` on the strand once there is a leader; answers EROFS past the grace.
  void when_writable(const RequestPtr& request, std::function<void()> body);
  void on_strand(std::function<void()> body) { service_.post(std::move(body)); }
  // For what answers the request later.
  RequestPtr hold(fuse_req_t req) { return std::make_shared<Request>(req, replies_); }
  // Who asks, with all groups: for permissions that the kernel can't check.
  static Caller caller_of(fuse_req_t req);
  static Opener opener_of(fuse_req_t req, int flags);

  // -- names
  // A file of the control room is gone with its directory.
  std::optional<Node> find_node(fuse_ino_t node) const;
  std::optional<Node> live_node(fuse_req_t req, fuse_ino_t node);
  std::optional<Node> live_node(const RequestPtr& request, fuse_ino_t node);
  // Under the tree's lock: what a node stands for at this moment, and its znode; no znode if it is
  // gone. What was asked of the node table before may be outdated by a rename.
  const tree::ZNode* znode_of(const tree::Tree& tree, KernelNode id, Node& node) const;
  std::optional<std::string> child_path(fuse_req_t req, fuse_ino_t parent, const char* name);
  void reply_entry(fuse_req_t req, const std::string& path, bool fresh_attributes);
  // The group of what is made in a directory, if it is setgid.
  std::optional<uint32_t> handed_down_group(const std::string& directory) const;
  void remove_path(const RequestPtr& request, const std::string& path, bool directory);
  void make_znode(const RequestPtr& request, const std::string& path, std::string_view data,
                  const tree::AclList& acl);
  bool fill_entry(const tree::Tree& tree, const std::string& path, bool fresh_attributes,
                  fuse_entry_param& entry, bool* must_wait = nullptr);
  void get_attributes(fuse_req_t req, fuse_ino_t id, const FilePtr& file);
  void reply_attributes(fuse_req_t req, fuse_ino_t node, const OpenFile* writer, bool cacheable);
  void reply_control_attributes(fuse_req_t req, const Node& node);
  View view(const tree::Tree& tree, const tree::ZNode& node, const std::string& path) const;
  bool can_forget_names();
  double name_timeout();
  void list(KernelNode id, Listing& listing) const;
  bool fill_listed(KernelNode id, const std::string& name, struct stat& st) const;
  bool is_outdated(KernelNode id, const Listing& listing) const;
  void forget_caches(const NodeTable::Forget& forget);
  void await_answers(std::vector<KernelNode>& coming);
  bool is_up_to_date(KernelNode id);
  void forget_late();
  void settle_root();
  void forget_names();
  const LocalChange* local_change(const tree::Txn& txn) const;
  bool kernel_lags();
  void note_thread(const void* request, size_t size);
  bool note_kind(const std::string& path);
  void follow(std::span<const tree::Change> changes, const RenameSeen& rename);
  void note_settled();

  // -- files
  void open_znode(const RequestPtr& request, const Node& node, fuse_file_info info);
  void reply_created(const RequestPtr& request, const std::string& path, fuse_file_info info,
                     bool is_new);
  FilePtr make_file(const Node& node, const fuse_file_info& info, pid_t pid,
                    const tree::ZNode& znode, bool is_new);
  void write_to(const RequestPtr& request, const FilePtr& file, const std::string& bytes,
                off_t offset, int flags);
  // On the strand: what is committed of a file; none if it is gone.
  std::optional<WriteBuffer::Committed> committed(KernelNode id) const;
  tree::Bytes data_of(KernelNode id) const;
  void commit_file(const FilePtr& file, std::function<void(int)> done);
  void begin_commit(const FilePtr& file);
  void commit_over(const FilePtr& file, int error);
  void commit_and_tell(const FilePtr& file, std::function<void(int)> tell);
  void send_commit(const FilePtr& file, const Node& node, WriteBuffer::Commit begun);
  void commit_answered(const FilePtr& file, const tree::Outcome& outcome);
  // After a change of what a handle has written; `answer` is what became of the write or commit.
  void note_written(const FilePtr& file, WriteBuffer::Answer answer = {});
  void flush_soon(const FilePtr& file);
  void truncate_path(const RequestPtr& request, fuse_ino_t node, off_t size, int tries,
                     std::function<void()> then);
  // Data written by others than root takes setuid and setgid away, before it is committed.
  void drop_setuid(const std::string& path);
  void set_posix(const RequestPtr& request, fuse_ino_t node, const tree::PosixChange& change);
  void set_size(const RequestPtr& request, fuse_ino_t node, off_t size, uint64_t handle,
                std::function<void()> then);
  void set_attributes(const RequestPtr& request, fuse_ino_t node, struct stat attributes, int set,
                      uint64_t handle);
  // Truncations under way at RELEASE: requests on that file wait for them.
  void note_release(const void* request, size_t size);

  // -- the page cache
  Version version_of(const tree::Tree& tree, const tree::ZNode& znode,
                     const std::string& path) const;
  std::optional<Version> current_version(KernelNode id) const;
  PageCache::Use open_pages(const tree::Tree& tree, const Node& node, const tree::ZNode& znode,
                            const FilePtr& file);
  std::shared_ptr<void> mark_writer(KernelNode id);
  // On the strand, before an open for writing is answered.
  void before_writing(KernelNode id, std::function<void()> then);
  void wait_for_readers(KernelNode id, int tries, std::function<void()> then);
  // On the strand, before what makes the kernel change a size by itself; and when it was answered.
  void apart_from_reads(KernelNode id, std::function<void()> then);
  void apart_from_reads(KernelNode id, std::shared_ptr<CopyWait> copies,
                        std::function<void()> then);
  bool may_copy(KernelNode id, pid_t but, CopyWait& copies) const;
  void kernel_wrote(KernelNode id);
  void note_published();
  bool is_calm(const tree::ZNode& znode);
  std::optional<tree::Bytes> pages_shown(KernelNode id, uint64_t handle);
  PageCache::Told tell(KernelNode id, tree::Zxid current, bool ordered, struct stat& st);
  void tell_later(KernelNode id, std::function<void()> then);
  void answer_reader(fuse_req_t req, fuse_ino_t id, const FilePtr& file);
  struct Question {
    fuse_req_t req;
    fuse_ino_t id;
    FilePtr file;
    pid_t thread;
    CopyWait copies;
    bool at_end;  // of the version that is shown, while there is another one
  };
  void ask_again(const std::shared_ptr<Question>& question);
  void show_pages(const std::shared_ptr<Question>& question);
  static bool goes_on(Question& question, const Version& shown, const Version& current);
  void reply_shown(const Question& question, const Version& shown);

  // -- control room
  void lookup_control(fuse_req_t req, const Node& parent, const std::string& name);
  // `parent` is the directory, or one of its room's.
  bool fill_control_entry(const Node& parent, Control control, const std::string& name,
                          fuse_entry_param& entry);
  std::optional<View> control_view(const Node& node) const;
  bool control_attributes(const Node& node, struct stat& st) const;
  void open_control(fuse_req_t req, const Node& node, fuse_file_info info);
  void create_control(fuse_req_t req, const Node& parent, const std::string& name, mode_t mode,
                      fuse_file_info info);
  void read_control(fuse_req_t req, const ControlPtr& file, size_t size, off_t offset, bool wait);
  void write_control(fuse_req_t req, const ControlPtr& file, const char* bytes, size_t size,
                     off_t offset, int flags);
  void setattr_control(fuse_req_t req, const Node& node, const struct stat& wanted, int set,
                       const fuse_file_info* info);
  uint64_t add_control(std::shared_ptr<Handle> handle);
  void release_control(uint64_t number);
  ControlPtr find_control(const fuse_file_info* info);
  void wake_poll(ControlFile& file);
  void reply_entry_or_absent(fuse_req_t req, const std::string& path);
  // What is made in, removed from and renamed in @/txn.
  void make_staging(fuse_req_t req, const Node& parent, const std::string& name, mode_t mode);
  void remove_staging(fuse_req_t req, const Node& parent, const std::string& name, bool directory);
  void commit_staging(fuse_req_t req, const Node& parent, const std::string& name,
                      const std::string& new_name);

  // -- inotify: the helper's requests, answered from what is committed, and what it is given to do
  bool is_helper(fuse_req_t req) const {
    const fuse_ctx* who = fuse_req_ctx(req);
    return replayer_.is_helper(who->pid, who->uid, who->gid);
  }
  std::optional<ReplayOp> replay_of(fuse_ino_t parent, const char* name) const;
  bool replay_lookup(fuse_req_t req, const std::string& path);
  void reply_gone(fuse_req_t req, const ReplayOp& op, KernelNode before);
  void reply_replayed(fuse_req_t req, const ReplayOp& op, const std::string& path);
  void replay_made(fuse_req_t req, fuse_ino_t parent, const char* name);
  void note_replays(const tree::Txn& txn, const std::optional<RenameSeen>& rename);
  // What the kernel holds of the name and its directory; false if nothing.
  bool hold(ReplayOp& op) const;
  void queue_replays();

  // -- locks
  void lock(fuse_req_t req, const Node& node, const FileLocks::Key& key, uint64_t handle,
            std::optional<LockMode> mode, bool wait);
  void take_lock(const RequestPtr& request, const Node& node, const FileLocks::Key& key,
                 uint64_t handle, LockMode mode, bool wait);
  void give_up(const FileLocks::Key& key, uint64_t handle, std::function<void()> done);
  void lock_granted(uint64_t handle);
  void lock_given_up(uint64_t handle);
  void lock_lost(uint64_t handle);

  consensus::Service& service_;
  MountConfig config_;
  std::string data_dir_;
  ViewOptions view_options_;
  Kernel kernel_;
  NodeTable nodes_;
  std::shared_ptr<Replies> replies_;  // requests that outlive the mount are not answered
  std::shared_ptr<PageCache> pages_;  // open files that outlive the mount leave it
  ClientSession session_;
  Writer writer_;
  Room room_;
  Replayer replayer_;
  consensus::Lane page_lane_{"zabfs-pages"};
  std::atomic<int> names_cacheable_{-1};  // -1: not known yet

  HandleTable<OpenFile> files_;
  HandleTable<ControlFile> controls_;
  HandleTable<Listing> listings_;
  std::atomic<uint64_t> next_handle_{1};

  std::promise<void> settled_;  // nothing is left to wait for before the mount serves

  // On the strand:
  bool is_settled_ = false;
  bool is_making_root_ = false;
  Interrupts interrupts_;
  uint64_t next_read_ = 1;                                  // of the control room
  std::unordered_map<int32_t, LocalChange> local_changes_;  // by cxid of our session
  std::unordered_set<int32_t> native_;  // writes by operations that the kernel tells of itself
  std::map<tree::Zxid, RenameSeen> renames_;  // of the batch in progress
  std::map<std::string, tree::Kind> kinds_;   // the same: of znodes that it may make another kind
  std::vector<ReplayOp> replays_;             // the same
  std::set<KernelNode> late_;  // set aside; the kernel may yet get an outdated answer for them
  FileLocks file_locks_{room_.locks(),
                        {[this](uint64_t handle) { lock_granted(handle); },
                         [this](uint64_t handle) { lock_given_up(handle); },
                         [this](uint64_t handle) { lock_lost(handle); }}};
  std::atomic<bool> has_posix_locks_{false};  // fcntl was used: closes are to be heard of

  LandingThreads landing_;
  ReleaseGate releases_;
};

}  // namespace zabfs::fsd
