// Locks as queues of ephemeral sequential znodes: Curator's mutex of a directory (`@/lock`), and
// our readers/writer locks of plain files by name (`flock`, whole-file `fcntl`).
//
// A contender is granted when nothing that conflicts with it stands before it in the sequence. Each
// node decides that from its own replica, told by commits: no polling, no herd. What is held ends
// with the session that made the contender.
// Layout: Curator's InterProcessMutex, DIR/_c_UUID-lock-0000000042; kazoo's `__lock__` counts too.
// For files: DIR/@/lock:NAME/{r,w}-0000000042.
// Everything is on the strand.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "fsd/session.h"

namespace zabfs::fsd {

enum class LockMode { kShared, kExclusive };

using LockTicket = uint64_t;  // one contender of this node

class LockTable {
 public:
  // errno: 0 granted, EAGAIN would wait, EINTR cancelled, ESTALE the session was lost, EIO.
  using Granted = std::function<void(int error)>;

  LockTable(consensus::Host& host, ClientSession& session) : host_(host), session_(session) {}

  struct Ask {
    std::string directory;  // of the mutex, or of the file
    std::string file;       // empty: the directory's mutex
    LockMode mode = LockMode::kExclusive;
    bool wait = true;
    pid_t pid = 0;
    std::string program;
  };
  // Joins the queue. `granted` runs once, perhaps at once.
  LockTicket acquire(Ask ask, Granted granted);
  // Leaves the queue or gives up the lock; `done` runs when that is committed. If it still waited,
  // `granted` gets `error`.
  void release(LockTicket ticket, int error, std::function<void()> done);
  bool is_held(LockTicket ticket) const;
  bool is_lost(LockTicket ticket) const;

  void published(const std::vector<tree::Change>& changes);
  void tree_replaced() { evaluate_all(); }
  void session_lost(tree::SessionId session);

  // `@/lock` as text.
  static std::string describe(const tree::Tree& tree, const std::string& directory);
  // `handles`: one line a contender.
  std::string handles() const;
  // Whether the name is a lock contender's, by any recipe known here.
  static bool is_contender(std::string_view name);

 private:
  enum class State { kCreating, kWaiting, kHeld, kLeaving, kLost };
  struct Contender {
    Ask ask;
    Granted granted;
    State state = State::kCreating;
    tree::SessionId session;
    std::string queue;  // the znode whose children queue
    std::string path;   // of the contender, once created
    std::vector<std::function<void()>> on_left;
  };
  void create(LockTicket ticket);
  void create_queue(LockTicket ticket);
  void created(LockTicket ticket, const tree::Outcome& outcome);
  void evaluate(LockTicket ticket);
  void evaluate_all();
  void remove_znode(LockTicket ticket);
  void answer(Contender& contender, int error);
  void forget(LockTicket ticket);

  consensus::Host& host_;
  ClientSession& session_;
  std::map<LockTicket, Contender> contenders_;
  LockTicket next_ = 1;
};

}  // namespace zabfs::fsd
