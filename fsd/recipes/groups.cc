// What is joined by opening and left by closing: `@/leader`, `@/semaphore/N`, `@/barrier/N`.
#include <fmt/format.h>

#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr std::string_view kReadyData = "barrier\n";  // of a `ready` that is no user's own file

LockTable::Ask ask_of(const Handle& handle, Queue queue) {
  LockTable::Ask ask;
  ask.queue = queue;
  ask.directory = handle.directory();
  ask.pid = handle.opener().pid;
  ask.uid = handle.opener().uid;
  ask.program = handle.opener().program;
  return ask;
}

// Curator's LeaderLatch: contenders DIR/_c_UUID-latch-0000000042, and the first one leads.
class LeaderHandle : public Handle {
 public:
  LeaderHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kLeader, directory, std::move(opener)) {}

  // Opened once it has its place in the queue: who opened before is elected before.
  void open(Done opened) override {
    opened_ = std::move(opened);
    auto self = shared_from_this();
    room_.writer().when_writable(
        [self, this] {
          if (!opened_) return;  // interrupted
          LockTable::Ask ask = ask_of(*this, Queue::kLatch);
          std::weak_ptr<Handle> weak = self;
          ask.joined = [weak, this](FileError error) {
            if (HandlePtr handle = weak.lock()) finish(error);
          };
          ask.lost = [weak] {
            if (HandlePtr handle = weak.lock()) handle->lose();
          };
          ticket_ = room_.locks().acquire(std::move(ask), [weak, this](FileError error) {
            HandlePtr handle = weak.lock();
            if (!handle) return;
            if (error != FileError::kOk) return lose();
            elected_ = true;
            wake();
          });
        },
        [self, this](FileError error) { finish(error); });
  }

  void cancel_open() override { finish(FileError::kInterrupted); }

 protected:
  bool is_ready() const override { return elected_; }
  void take(size_t, Answer answer) override {
    answer(FileError::kOk, fmt::format("leader {}\ntoken 0x{:x}\n", room_.owner_text(opener()),
                                       room_.locks().token(ticket_).value));
  }
  void leave() override {
    room_.locks().release(ticket_, FileError::kClosed, [] {});
  }

 private:
  void finish(FileError error) {
    Done opened = std::exchange(opened_, nullptr);
    if (opened) opened(error);
  }

  Done opened_;
  LockTicket ticket_ = 0;
  bool elected_ = false;
};

// Curator's InterProcessSemaphoreV2: behind the mutex in DIR/locks, a lease
// DIR/leases/_c_UUID-lease-0000000042 is made; once there are no more than N, it is held.
class SemaphoreHandle : public Handle {
 public:
  SemaphoreHandle(Room& room, const std::string& directory, int32_t leases, Opener opener)
      : Handle(room, Control::kSemaphore, directory, std::move(opener)), leases_(leases) {}

  void open(Done opened) override {
    opened_ = std::move(opened);
    auto self = shared_from_this();
    room_.writer().when_writable([self, this] { take_mutex(); },
                                 [self, this](FileError error) { finish(error); });
  }

  void cancel_open() override { finish(FileError::kInterrupted); }

  // Without waiting: an open that is queued behind others for the mutex ends when all are taken.
  void published(const std::vector<tree::Change>&) override {
    if (opened_ && !opener().wait && lease_ == 0 && all_taken()) finish(FileError::kTryAgain);
  }

 protected:
  void take(size_t, Answer answer) override {
    answer(FileError::kOk, fmt::format("lease {}\ntoken 0x{:x}\n", room_.owner_text(opener()),
                                       room_.locks().token(lease_).value));
  }
  void leave() override {
    // The lease goes before the mutex: whoever is next finds it gone.
    if (lease_ != 0) room_.locks().release(std::exchange(lease_, 0), FileError::kClosed, [] {});
    if (mutex_ != 0) room_.locks().release(std::exchange(mutex_, 0), FileError::kClosed, [] {});
  }

 private:
  bool all_taken() const { return LockTable::leases_taken(room_.tree(), directory()) >= leases_; }

  // The queues are children of the directory: what others made by these names is theirs to open.
  FileError may_queue() const {
    for (std::string_view name : {kSemaphoreLocks, kSemaphoreLeases}) {
      std::string path = tree::join_path(directory(), name);
      const tree::ZNode* node = room_.tree().find(path);
      if (node == nullptr) continue;
      View shown = room_.view(*node, path);
      if (shown.kind != tree::Kind::kDirectory) return FileError::kNotDirectory;
      if (!may(shown, opener(), kMayWrite | kMaySearch)) return FileError::kNoAccess;
    }
    return FileError::kOk;
  }

  void take_mutex() {
    if (!opened_) return;  // interrupted
    if (FileError error = may_queue(); error != FileError::kOk) return finish(error);
    if (!opener().wait && all_taken()) return finish(FileError::kTryAgain);
    auto weak = weak_from_this();
    if (!opener().wait) {
      room_.listen(this);
      // Nor does it wait for a leader, if that goes while it queues.
      expected_ = room_.writer().expect_while_writable([weak, this] {
        HandlePtr handle = weak.lock();
        if (handle) {
          finish(room_.writer().is_read_only() ? FileError::kReadOnly : FileError::kTryAgain);
        }
      });
    }
    LockTable::Ask ask = ask_of(*this, Queue::kSemaphoreMutex);
    mutex_ = room_.locks().acquire(std::move(ask), [weak, this](FileError error) {
      HandlePtr handle = weak.lock();
      if (!handle || !opened_) return;
      if (error != FileError::kOk) return finish(error);
      take_lease();
    });
  }

  void take_lease() {
    LockTable::Ask ask = ask_of(*this, Queue::kLease);
    ask.permits = leases_;
    ask.wait = opener().wait;
    auto weak = weak_from_this();
    ask.lost = [weak] {
      if (HandlePtr handle = weak.lock()) handle->lose();
    };
    lease_ = room_.locks().acquire(std::move(ask), [weak, this](FileError error) {
      HandlePtr handle = weak.lock();
      if (!handle || !opened_) return;
      finish(error);
    });
  }

  void finish(FileError error) {
    Done opened = std::exchange(opened_, nullptr);
    if (!opened) return;
    room_.writer().settled(expected_);
    if (error != FileError::kOk) {
      close();
    } else {
      room_.locks().release(std::exchange(mutex_, 0), FileError::kClosed, [] {});
    }
    opened(error);
  }

  int32_t leases_;
  Done opened_;
  uint64_t expected_ = 0;  // by the writer: the end of an open that does not wait
  LockTicket mutex_ = 0, lease_ = 0;
};

// Curator's DistributedDoubleBarrier: members DIR/UUID; the one that completes them makes
// DIR/ready, and the last to leave removes it.
class BarrierHandle : public Handle {
 public:
  BarrierHandle(Room& room, const std::string& directory, int32_t parties, Opener opener)
      : Handle(room, Control::kBarrier, directory, std::move(opener)),
        parties_(parties),
        path_(tree::join_path(directory, uuid_from([&room] { return room.service().random(); }))),
        ready_path_(tree::join_path(directory, kBarrierReady)) {
    room.listen(this);
  }

  void open(Done opened) override {
    auto self = shared_from_this();
    room_.writer().when_writable([self, this, opened] { join(opened); }, opened);
  }

  void published(const std::vector<tree::Change>& changes) override {
    bool concerns = false;
    for (const tree::Change& change : changes) {
      if (change.type == tree::ChangeType::kDeleted && change.path == path_ && joined_) {
        let_go();
        return lose();  // by others' hands
      }
      concerns = concerns || tree::parent_path(change.path) == directory();
    }
    if (concerns) look();
  }
  void tree_replaced() override { look(); }
  void session_lost(tree::SessionId session) override {
    if (session != session_) return;
    joined_ = false;
    lose();
  }
  std::string held() const override {
    return joined_ ? held_line("barrier", fmt::format("@/barrier/{}", parties_)) : std::string();
  }

 protected:
  bool is_ready() const override { return in_; }
  void take(size_t, Answer answer) override {
    answer(FileError::kOk, fmt::format("in {}\n", parties_));
  }

  void leave() override {
    left_ = true;
    if (!joined_) return;
    auto self = shared_from_this();
    room_.session().submit_held(session_, OpCode::kDelete,
                                tree::delete_body(path_, tree::kAnyVersion),
                                [self, this](const Outcome&) {
                                  let_go();
                                  if (members() == 0) remove_ready();
                                });
  }

 private:
  int32_t members() const {
    int32_t count = 0;
    const tree::ZNode* node = room_.tree().find(directory());
    if (node == nullptr) return 0;
    room_.tree().for_each_child(*node, [&count](const tree::ZNode& child) {
      if (is_barrier_member(child)) ++count;
    });
    return count;
  }

  void let_go() {
    if (std::exchange(joined_, false) && session_ == room_.session().id()) room_.session().let_go();
  }

  // One that a barrier made, or that the caller could remove by hand.
  bool may_remove_ready(const tree::ZNode& node) const {
    View shown = room_.view(node, ready_path_);
    bool is_barriers =
        shown.uid == 0 && shown.kind == tree::Kind::kFile && node.data.view() == kReadyData;
    const tree::ZNode* around = room_.tree().find(directory());
    if (is_barriers || around == nullptr) return is_barriers;
    return may_remove(room_.view(*around, directory()), shown, opener()) == FileError::kOk;
  }

  void remove_ready() {
    const tree::ZNode* node = room_.tree().find(ready_path_);
    if (node == nullptr || !may_remove_ready(*node)) return;
    room_.writer().commit(OpCode::kDelete, tree::delete_body(ready_path_, tree::kAnyVersion),
                          [](const Outcome&) {});
  }

  void join(Done opened) {
    // Left behind by members that died: it would let everybody in.
    if (members() == 0) remove_ready();
    tree::AclList acl = acl_for_new(tree::Kind::kFile, 0644, 0, 0);
    std::string body =
        tree::create_body(path_, room_.owner_text(opener()), acl, tree::kCreateEphemeral);
    auto self = shared_from_this();
    auto done = [self, this, opened](const Outcome& outcome) {
      if (outcome.error == Error::kOk) joined(outcome);
      opened(file_error_of(outcome.error));
    };
    // Whoever opened it was told that it failed.
    auto late = [self, this](const Outcome& outcome) {
      left_ = true;
      if (outcome.error == Error::kOk) joined(outcome);
    };
    room_.writer().commit(OpCode::kCreate2, std::move(body), std::move(done), std::move(late));
  }

  void joined(const Outcome& outcome) {
    session_ = tree::SessionId{outcome.stat.ephemeral_owner};
    if (session_ != room_.session().id()) return lose();
    joined_ = true;
    room_.session().hold();
    if (left_) return leave();
    look();
  }

  void look() {
    if (!joined_ || in_) return;
    bool complete = members() >= parties_;
    bool is_open = room_.tree().find(ready_path_) != nullptr;
    if (!complete && !is_open) return;
    in_ = true;
    if (!is_open) {
      tree::AclList acl = acl_for_new(tree::Kind::kFile, 0644, 0, 0);
      room_.writer().commit(
          OpCode::kCreate2,
          tree::create_body(ready_path_, kReadyData, acl, tree::kCreatePersistent),
          [](const Outcome&) {});
    }
    wake();
  }

  int32_t parties_;
  std::string path_, ready_path_;
  tree::SessionId session_;
  bool joined_ = false, in_ = false, left_ = false;
};

}  // namespace

HandlePtr open_leader(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<LeaderHandle>(room, directory, std::move(opener));
}

HandlePtr open_semaphore(Room& room, const std::string& directory, int32_t leases, Opener opener) {
  return std::make_shared<SemaphoreHandle>(room, directory, leases, std::move(opener));
}

HandlePtr open_barrier(Room& room, const std::string& directory, int32_t parties, Opener opener) {
  return std::make_shared<BarrierHandle>(room, directory, parties, std::move(opener));
}

}  // namespace zabfs::fsd
