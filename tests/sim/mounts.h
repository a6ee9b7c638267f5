// Mounts inside the simulation: the daemon's own session, writer and locks (fsd/session) on a
// simulated node, with every fault of its network, disk and clock.
//
// A mount lives as long as its node's process. It appends and edits files, takes the lock of a
// directory (`@/lock`) and locks of a file for reading and for writing, and writes under the first
// as the holder's program would: in the session that holds it or not at all.
//
// What must hold, whatever breaks:
//   - Two programs never believe at once that they hold locks that exclude each other. A program
//     believes it while the mount would answer so: the lock is held, and the session's deadline has
//     not passed by the node's own clock.
//   - The fencing tokens of locks that exclude each other rise from grant to grant.
//   - What is written under the lock arrives in the order of the tokens. So a holder that lost the
//     lock changes nothing behind the back of the next one.
//   - A write that was answered is in the tree once; any other at most once.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fsd/session/lock.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"
#include "sim/world.h"

namespace zabfs::sim {

class Mounts;

class Mount : public consensus::ReplicaListener {
 public:
  struct Lock {
    fsd::Queue queue = fsd::Queue::kMutex;
    fsd::LockMode mode = fsd::LockMode::kExclusive;
    bool is_asked_for = false;
    fsd::LockTicket ticket = 0;
  };

  Mount(Mounts& mounts, World& world, SimNode& node, int number);

  // Mounts if the node has been started since, and does something.
  void act();
  int number() const { return number_; }
  tree::SessionId session() const;
  // Whether a program of this node may act as the holder.
  bool believes_in(const Lock& lock) const;
  const std::vector<Lock>& locks() const { return locks_; }

 private:
  // All of what ends with the process.
  struct Process {
    Process(SimNode& node, int32_t timeout_ms);
    fsd::ClientSession session;
    fsd::Writer writer;
    fsd::LockTable locks;
    int under_way = 0;
  };
  using Done = std::function<void(const tree::Outcome&)>;

  // ReplicaListener
  void publishing(std::span<const tree::Change> changes) override;
  void published(const std::vector<tree::Change>& changes) override;
  void tree_replaced() override;
  void standing_changed() override;

  bool is_alive() const { return process_ && node_.is_up() && node_.life() == life_; }
  void mount();
  fsd::ClientSession::Actor actor() const;
  void commit(tree::OpCode type, std::string body, Done done, tree::SessionId only = {});
  void make_files();
  void append();
  void edit();
  void write_guarded();
  void ask_for(Lock& lock, bool wait);
  void release(Lock& lock);
  void answered(Lock& lock, fsd::FileError error);
  void check_guarded();
  void trace(const std::string& what);

  Mounts& mounts_;
  World& world_;
  SimNode& node_;
  const int number_;
  uint64_t life_ = 0;
  std::unique_ptr<Process> process_;
  std::vector<Lock> locks_;
  int64_t guarded_ = 0;  // the newest token that this node has seen written under the lock
};

class Mounts {
 public:
  Mounts(World& world, int count);
  // They act until then.
  void run(int64_t until_us);
  bool has(tree::SessionId session) const;
  void lock_granted(const Mount& holder, const Mount::Lock& lock, tree::Zxid token);
  std::string next_token(int mount);
  uint64_t locks_granted() const { return locks_granted_; }

 private:
  World& world_;
  std::vector<std::unique_ptr<Mount>> mounts_;
  uint64_t next_token_ = 1;
  std::map<std::pair<fsd::Queue, fsd::LockMode>, tree::Zxid> last_tokens_;
  uint64_t locks_granted_ = 0;
};

}  // namespace zabfs::sim
