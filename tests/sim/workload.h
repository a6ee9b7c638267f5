// Clients inside the simulation: each node has one session that appends unique tokens, creates and
// removes znodes, and reads behind barriers.
#pragma once

#include <map>
#include <string>

#include "sim/world.h"

namespace zabfs::sim {

class Workload {
 public:
  explicit Workload(World& world) : world_(world) {}
  // Some operation on some node that serves; schedules the next.
  void run(int64_t until_us);
  // One append on `node`; the healed ensemble must answer it.
  void probe(SimNode& node, bool& answered);

 private:
  struct Client {
    uint64_t life = 0;
    tree::SessionId session;
    bool open = false;
    int32_t cxid = 0;
  };
  void operate(SimNode& node);
  void open_session(SimNode& node, Client& client);
  void append(SimNode& node, Client& client, std::function<void(bool)> done);
  void read_behind_barrier(SimNode& node, Client& client);
  Client& client_of(SimNode& node);

  World& world_;
  std::map<tree::ServerId, Client> clients_;
  uint64_t next_token_ = 1;
};

}  // namespace zabfs::sim
