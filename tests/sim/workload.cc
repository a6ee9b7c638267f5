#include "sim/workload.h"

#include <fmt/format.h>

#include "tree/request.h"

namespace zabfs::sim {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int kFiles = 4;
constexpr int32_t kSessionMs = 3'000;

std::string file_path(uint64_t number) { return "/f" + std::to_string(number % kFiles); }

}  // namespace

Workload::Client& Workload::client_of(SimNode& node) {
  Client& client = clients_[node.id()];
  if (client.life != node.life()) client = Client{node.life(), {}, false, 0};
  return client;
}

void Workload::run(int64_t until_us) {
  if (world_.now_us() >= until_us) return;
  SimNode& node = *world_.nodes()[world_.random(world_.nodes().size())];
  if (node.is_up()) operate(node);
  world_.after(static_cast<int64_t>(1'000 + world_.random(20'000)),
               [this, until_us] { run(until_us); });
}

void Workload::open_session(SimNode& node, Client& client) {
  client.session = node.replica().new_session_id();
  uint64_t life = node.life();
  node.replica().submit(tree::superuser_request(client.session, 0, OpCode::kCreateSession,
                                                tree::create_session_body(kSessionMs)),
                        [this, &node, life](const Outcome& outcome) {
                          Client& current = clients_[node.id()];
                          if (current.life != life) return;
                          current.open = outcome.error == Error::kOk;
                          if (!current.open) current.session = {};
                        });
}

void Workload::operate(SimNode& node) {
  node.on_strand([&] {
    Client& client = client_of(node);
    if (client.session == tree::SessionId{}) return open_session(node, client);
    if (!client.open || node.replica().pending_count() > 50) return;
    uint64_t what = world_.random(10);
    if (what < 6) {
      append(node, client, [](bool) {});
    } else if (what < 8) {
      read_behind_barrier(node, client);
    } else if (what == 8) {
      node.replica().submit(
          tree::superuser_request(
              client.session, ++client.cxid, OpCode::kCreate2,
              tree::create_body("/e-", "", tree::open_acl(), tree::kCreateEphemeralSequential)),
          nullptr);
    } else {
      node.replica().submit(
          tree::superuser_request(
              client.session, ++client.cxid, OpCode::kDelete,
              tree::delete_body(fmt::format("/e-{:010}", world_.random(100)), -1)),
          nullptr);
    }
  });
}

void Workload::append(SimNode& node, Client& client, std::function<void(bool)> done) {
  uint64_t number = next_token_++;
  std::string token = "t" + std::to_string(number);
  std::string path = file_path(number);
  uint64_t life = node.life();
  world_.invariants().attempted(token);
  auto finish = [this, token, done, &node, life](const Outcome& outcome) {
    if (outcome.error == Error::kOk) world_.invariants().acknowledged(token);
    if (outcome.error == Error::kSessionExpired && clients_[node.id()].life == life) {
      clients_[node.id()].session = {};
      clients_[node.id()].open = false;
    }
    done(outcome.error == Error::kOk);
  };
  tree::SessionId session = client.session;
  if (node.replica().tree().find(path) == nullptr) {
    node.replica().submit(tree::superuser_request(session, ++client.cxid, OpCode::kCreate,
                                                  tree::create_body(path, "", tree::open_acl(),
                                                                    tree::kCreatePersistent)),
                          nullptr);
  }
  tree::ExtAppend ext;
  ext.path = path;
  ext.data = token + "\n";
  world_.trace(fmt::format("node {} appends {} as 0x{:x} cxid {}", node.id().value, token,
                           session.value, client.cxid + 1));
  node.replica().submit(
      tree::superuser_request(session, ++client.cxid, OpCode::kExtAppend, encode(ext)), finish);
}

void Workload::read_behind_barrier(SimNode& node, Client& client) {
  auto must = std::make_shared<std::set<std::string>>(world_.invariants().acknowledged_now());
  node.replica().sync(client.session, [this, &node, must](const Outcome&) {
    world_.invariants().check_tokens(node.replica().tree(), *must, "sync then read");
  });
}

void Workload::probe(SimNode& node, bool& answered) {
  node.on_strand([&] {
    Client& client = client_of(node);
    if (client.session == tree::SessionId{}) return open_session(node, client);
    if (client.open) append(node, client, [&answered](bool ok) { answered = answered || ok; });
  });
}

}  // namespace zabfs::sim
