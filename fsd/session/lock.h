// Queues of ephemeral sequential znodes, in which contenders wait for their turn: Curator's mutex
// of a directory (`@/lock`), its readers/writer lock (`@/rwlock`), its leader latch (`@/leader`)
// and its semaphore (`@/semaphore/N`), and our readers/writer locks of plain files by name
// (`flock`, whole-file `fcntl`).
//
// A contender is granted when nothing that conflicts with it stands before it in the sequence. Each
// node decides that from its own replica, told by commits: no polling, no herd. What is held ends
// with the session that made the contender.
// Layout: Curator's (recipe_of in lock.cc); kazoo's `__lock__` counts for the mutex, too.
// For files: DIR/@/lock:NAME/{r,w}-0000000042.
// Everything is on the strand.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consensus/histogram.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"
#include "fsd/view/file_error.h"
#include "fsd/view/view.h"

namespace zabfs::fsd {

enum class LockMode { kShared, kExclusive };
enum class Queue { kFile, kMutex, kReadWrite, kLatch, kSemaphoreMutex, kLease };

using LockTicket = uint64_t;  // one contender of this node

class LockTable {
 public:
  // kOk: granted; kTryAgain: it would have to wait, and has left the queue; kInterrupted:
  // cancelled; kStale: the session was lost; any other: it could not queue. Who does not wait for
  // others has an answer as soon as a write has one: kReadOnly or kFailed if that takes too long.
  using Granted = std::function<void(FileError error)>;

  LockTable(consensus::Service& service, ClientSession& session, Writer& writer)
      : service_(service), session_(session), writer_(writer) {}

  struct Ask {
    Queue queue = Queue::kMutex;
    std::string directory;  // whose control room it is, or that of the file
    std::string file;       // of kFile
    LockMode mode = LockMode::kExclusive;
    int32_t permits = 1;  // how many hold at once, of kLease
    bool wait = true;
    pid_t pid = 0;
    uid_t uid = 0;
    std::string program;
    ClientSession::Actor actor() const { return {uid, program}; }
    // It has its place in the queue, or an error says why it has none. Once, before `granted`.
    std::function<void(FileError error)> joined = nullptr;
    // The lock is lost: with the session, or by others' hands. Once, after `granted`.
    std::function<void()> lost = nullptr;
  };
  // Joins the queue. `granted` runs once, perhaps at once.
  LockTicket acquire(Ask ask, Granted granted);
  // Leaves the queue or gives up the lock; `done` runs when that is committed. If it still waited,
  // `granted` gets `error`.
  void release(LockTicket ticket, FileError error, std::function<void()> done);
  // Of those of this node that were granted. In whole milliseconds.
  consensus::Durations wait_times() const { return wait_times_.durations(); }
  consensus::Durations hold_times() const { return hold_times_.durations(); }
  bool is_held(LockTicket ticket) const;
  bool is_lost(LockTicket ticket) const;

  void published(const std::vector<tree::Change>& changes);
  void tree_replaced() { evaluate_all(); }
  void session_lost(tree::SessionId session);

  // Who would stand in the way of such a lock, `own` contender aside.
  struct Conflict {
    LockMode mode = LockMode::kExclusive;
    pid_t pid = 0;  // 0: of another node
  };
  std::optional<Conflict> conflict(const Ask& ask, LockTicket own) const;
  // The czxid of a held contender: the fencing token.
  tree::Zxid token(LockTicket ticket) const;
  // `@/lock` or `@/rwlock` as text, with what the reader may read of the contenders.
  static std::string describe(const tree::Tree& tree, const std::string& directory, Queue queue,
                              const NodeTest& may_read);
  // Leases of a directory's semaphore that somebody holds or is about to.
  static int32_t leases_taken(const tree::Tree& tree, const std::string& directory);
  // `handles`: one line a contender; only that user's, if it isn't root.
  std::string handles(uid_t uid) const;

 private:
  enum class State { kCreating, kWaiting, kHeld, kLeaving, kLost };
  struct Contender {
    Ask ask;
    Granted granted;
    State state = State::kCreating;
    tree::SessionId session;
    std::string queue;  // the znode whose children queue
    std::string path;   // of the contender, once created
    tree::Zxid czxid;
    int64_t asked_ms = 0, granted_ms = 0;
    std::vector<std::function<void()>> on_left;
  };
  Granted answered_in_time(LockTicket ticket, Granted granted);
  void create(LockTicket ticket);
  void create_queue(LockTicket ticket);
  void lose(LockTicket ticket);
  void created(LockTicket ticket, const tree::Outcome& outcome);
  void evaluate(LockTicket ticket);
  void evaluate_all();
  void refuse(LockTicket ticket);
  void remove_znode(LockTicket ticket);
  void turn_away(Contender& contender, FileError error);
  void tell_joined(Contender& contender, FileError error);
  void answer(Contender& contender, FileError error);
  void grant(Contender& contender);
  void note_end(const Contender& contender);
  void forget(LockTicket ticket);

  consensus::Service& service_;
  ClientSession& session_;
  Writer& writer_;
  std::map<LockTicket, Contender> contenders_;
  LockTicket next_ = 1;
  consensus::Histogram wait_times_, hold_times_;
};

}  // namespace zabfs::fsd
