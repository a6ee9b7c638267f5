// Clients inside the simulation. Each has a session that it takes from node to node, one operation
// at a time, some in bursts, and checks every answer against what it and all others knew.
//
// What they do: appends of unique tokens, writes, conditional writes, sequential and ephemeral
// creates, reads, barriers and reads behind them, locks held by ephemeral sequentials (Curator's
// recipe), silence until the session expires; and what client_tree.cc has.
//
// Every third is a mount: it never leaves its node, gives its session up when its deadline is over,
// and does again in the next session what was refused because the last had expired
// (fsd/session/session.h).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sim/mounts.h"
#include "sim/world.h"

namespace zabfs::sim {

class Clients;

// Sessions that move about are no mount's: they prove what the configuration says.
inline tree::Identities superuser() { return {{"super", ""}, {"digest", kSimSuperDigest}}; }

class Client {
 public:
  Client(Clients& clients, World& world, int number);

  // Does something, or finds that it can't now.
  void act();
  // One append, through `node`; the healed ensemble must answer it.
  void probe(SimNode& node, const std::shared_ptr<bool>& answered);
  // Its session is open, and its node may be asked.
  bool can_write() const;
  SimNode& node() const { return *node_; }
  // Asks for that configuration.
  void reconfigure(const consensus::Ensemble& next);
  // From now on it does nothing; its session is to expire.
  void retire() { retired_ = true; }

  int number() const { return number_; }
  // Whether it may still act as the holder of the lock: it saw itself first, and its session's
  // deadline, kept by its own clock, is not over.
  bool believes_in_lock() const;
  tree::Zxid lock_czxid() const { return lock_czxid_; }
  tree::SessionId session() const { return session_; }

 private:
  using Done = std::function<void(const tree::Outcome&)>;

  bool attach();
  void detach();
  void open_session();
  void take_session_along();
  void forget_session();
  // `done` runs with the answer, if the client is still at that node then.
  void submit(tree::OpCode type, std::string body, Done done,
              tree::Identities identities = superuser());
  void make_directories();
  void append();
  bool wants_ballast() const;
  void add_ballast();
  void write(bool conditional);
  void create_sequential();
  void create_ephemeral();
  void remove_ephemeral();
  void read();
  void sync_and_read();
  void renew();
  void take_lock();
  void look_at_lock();
  void release_lock();
  void check_own_ephemerals();
  // client_tree.cc
  void act_on_tree();
  void make_shapes();
  void write_pair(bool fails);
  void ask_too_much();
  void move_coin();
  void replace_file();
  void change_access();
  void use_container();
  void fill_quota();
  void trace(const std::string& what);

  Clients& clients_;
  World& world_;
  int number_;
  bool retired_ = false;
  SimNode* node_ = nullptr;  // attached to
  uint64_t life_ = 0;        // of the node, and
  uint64_t attachment_ = 1;  // of this attachment
  tree::SessionId session_;
  bool open_ = false;
  uint64_t owned_ = 0;  // the attachment whose node the leader knows as the session's
  tree::Zxid attached_at_;
  bool asking_ = false;
  int32_t cxid_ = 0;
  int under_way_ = 0;
  tree::Zxid seen_;  // the newest state it has read or been told of
  int64_t silent_until_us_ = 0;
  int64_t deadline_us_ = 0;           // of the session: what it holds is lost then
  std::set<std::string> ephemerals_;  // acknowledged, and not removed
  int next_ephemeral_ = 1;
  int next_shape_ = 1;
  std::string lock_path_;  // contending with it
  bool lock_pending_ = false;
  bool lock_held_ = false;
  tree::Zxid lock_czxid_;
};

class Clients {
 public:
  Clients(World& world, int count);
  // They act until then.
  void run(int64_t until_us);
  void probe(SimNode& node, const std::shared_ptr<bool>& answered);
  // From time to time a voter leaves, becomes an observer, or comes back.
  void reconfigure(int64_t until_us);
  // Retires half of them, so that the other half sees their sessions end.
  void retire_some();
  // After a while: only sessions of clients that are left.
  void check_sessions(const tree::Tree& tree, const Mounts& mounts) const;

  void check_shapes(const tree::Tree& tree) const;
  void check_containers(const tree::Tree& tree) const;

  // A client takes the lock: nobody else may believe in it, and tokens rise.
  void lock_granted(const Client& client);
  void sequence_given(const std::string& path);
  std::string next_token() { return "t" + std::to_string(next_token_++); }
  uint64_t locks_granted() const { return locks_granted_; }

 private:
  World& world_;
  std::vector<std::unique_ptr<Client>> clients_;
  uint64_t next_token_ = 1;
  std::set<std::string> sequences_;
  tree::Zxid last_lock_;
  uint64_t locks_granted_ = 0;
};

}  // namespace zabfs::sim
