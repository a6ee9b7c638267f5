#include "sim/clients.h"

#include <fmt/format.h>

#include <algorithm>

#include "consensus/reconfig.h"
#include "tree/request.h"

namespace zabfs::sim {

using tree::Error;
using tree::OpCode;
using tree::Outcome;
using tree::Zxid;

namespace {

constexpr int kFiles = 4;
constexpr int kRegisters = 3;
constexpr int32_t kSessionMs = 3'000;
constexpr int64_t kDeadlineUs = 2'990 * kMillisecondUs;  // clocks differ by a tenth of a percent
constexpr int kMaxUnderWay = 6;

std::string address_of(int number) { return fmt::format("10.0.0.{}", number); }

}  // namespace

Client::Client(Clients& clients, World& world, int number)
    : clients_(clients), world_(world), number_(number) {}

void Client::trace(const std::string& what) {
  if (world_.options().trace) world_.trace(fmt::format("client {} {}", number_, what));
}

// ---- where it is

// A client stays where it is while it can, and takes its session elsewhere otherwise. A server
// refuses one that has seen a later state than its own.
bool Client::attach() {
  if (node_ != nullptr && node_->is_up() && node_->life() == life_) {
    if (!world_.chance(150)) return true;
  }
  detach();  // its connection broke
  auto& nodes = world_.nodes();
  SimNode& candidate = *nodes[world_.random(nodes.size())];
  if (!candidate.is_up() || candidate.is_paused()) return false;
  if (candidate.replica().tree().last_zxid() < seen_) return false;
  node_ = &candidate;
  life_ = candidate.life();
  trace(fmt::format("attaches to node {}", candidate.id().value));
  return true;
}

void Client::detach() {
  node_ = nullptr;
  ++attachment_;
  asking_ = false;
  under_way_ = 0;
  lock_pending_ = false;
}

void Client::open_session() {
  consensus::Replica& replica = node_->replica();
  session_ = replica.new_session_id();
  owned_ = attachment_;
  attached_at_ = tree::kFirstAttachment;
  cxid_ = 0;
  int64_t asked_us = world_.now_us();
  submit(OpCode::kCreateSession, tree::create_session_body(kSessionMs),
         [this, asked_us](const Outcome& outcome) {
           open_ = outcome.error == Error::kOk;
           if (open_) deadline_us_ = asked_us + kDeadlineUs;
           if (!open_) forget_session();
         });
}

// At another node than before, the leader is asked first; writes would be refused otherwise.
void Client::take_session_along() {
  if (std::exchange(asking_, true)) return;
  node_->replica().attach(
      session_, kSessionMs,
      [this, attachment = attachment_, session = session_, life = life_,
       node = node_](const Outcome& outcome) {
        if (node->life() != life || attachment != attachment_ || session != session_) return;
        asking_ = false;
        if (outcome.error == Error::kSessionExpired) return forget_session();
        if (outcome.error != Error::kOk) return detach();
        owned_ = attachment_;
        attached_at_ = outcome.zxid;
        trace("is welcome with its session");
      });
}

void Client::forget_session() {
  session_ = {};
  open_ = lock_held_ = false;
  ephemerals_.clear();
  lock_path_.clear();
  detach();
}

// ---- operations

void Client::submit(OpCode type, std::string body, Done done, tree::Identities identities) {
  if (node_ == nullptr) return;  // what it asked just before was refused at once
  int32_t cxid = type == OpCode::kCreateSession ? 0 : ++cxid_;
  tree::SessionId session = session_;
  Zxid known_before = world_.invariants().known();
  ++under_way_;
  trace(fmt::format("asks cxid {} type {} of node {}", cxid, static_cast<int>(type),
                    node_->id().value));
  auto finish = [this, session, cxid, type, known_before, attachment = attachment_, life = life_,
                 node = node_, done = std::move(done)](const Outcome& outcome) {
    if (node->life() != life) return;  // nobody is there to be answered
    if (outcome.error == Error::kOk && cxid != 0) {
      world_.invariants().acknowledged(session, cxid, outcome, known_before);
    }
    if (attachment != attachment_ || session != session_) return;
    --under_way_;
    seen_ = std::max(seen_, outcome.zxid);
    trace(fmt::format("cxid {} type {} at node {}: {} 0x{:x}", cxid, static_cast<int>(type),
                      node->id().value, static_cast<int>(outcome.error), outcome.zxid.value));
    if (outcome.error == Error::kSessionExpired) return forget_session();
    if (outcome.error == Error::kSessionMoved) return detach();  // its server closes the connection
    done(outcome);
  };
  tree::Request request = tree::superuser_request(session, cxid, type, std::move(body));
  request.identities = std::move(identities);
  request.identities.push_back({"ip", address_of(number_)});
  if (type == OpCode::kCreateSession) world_.invariants().is_at(session, address_of(number_));
  request.attachment = attached_at_;
  node_->replica().submit(std::move(request), finish);
}

void Client::make_directories() {
  for (const char* path : {"/e", "/s", "/lock"}) {
    submit(OpCode::kCreate, tree::create_body(path, "", tree::open_acl(), tree::kCreatePersistent),
           [](const Outcome&) {});
  }
}

void Client::append() {
  if (node_ == nullptr) return;  // what it asked just before was refused at once
  std::string token = clients_.next_token();
  std::string path = "/f" + std::to_string(world_.random(kFiles));
  world_.invariants().attempted(token);
  if (node_->replica().tree().find(path) == nullptr) {
    submit(OpCode::kCreate, tree::create_body(path, "", tree::open_acl(), tree::kCreatePersistent),
           [](const Outcome&) {});
  }
  tree::ExtAppend ext;
  ext.path = path;
  ext.data = token + "\n";
  submit(OpCode::kExtAppend, encode(ext), [this, token](const Outcome& outcome) {
    if (outcome.error == Error::kOk) world_.invariants().acknowledged(token);
  });
}

bool Client::wants_ballast() const {
  return node_->replica().tree().data_bytes() < world_.options().ballast_bytes;
}

void Client::add_ballast() {
  std::string path = "/b" + clients_.next_token();
  std::string data(5'000 + world_.random(20'000), 'b');
  submit(OpCode::kCreate, tree::create_body(path, data, tree::open_acl(), tree::kCreatePersistent),
         [](const Outcome&) {});
}

void Client::write(bool conditional) {
  std::string path = "/r" + std::to_string(world_.random(kRegisters));
  const tree::Tree& tree = node_->replica().tree();
  const tree::ZNode* node = tree.find(path);
  if (node == nullptr) {
    return submit(OpCode::kCreate,
                  tree::create_body(path, "", tree::open_acl(), tree::kCreatePersistent),
                  [](const Outcome&) {});
  }
  int32_t version = conditional ? tree.stat_of(*node).version : tree::kAnyVersion;
  bool as_mount = conditional && world_.chance(2);  // the mount's request, or ZooKeeper's own
  std::string body;
  if (as_mount) {
    tree::ExtWrite ext;
    ext.path = path;
    ext.version = version;
    ext.data = std::to_string(world_.random(1'000'000));
    body = encode(ext);
  } else {
    body = tree::set_data_body(path, std::to_string(world_.random(1'000'000)), version);
  }
  submit(
      as_mount ? OpCode::kExtWrite : OpCode::kSetData, std::move(body),
      [this, path, version, as_mount](const Outcome& outcome) {
        if (outcome.error == Error::kOk) {
          int32_t now = world_.invariants().version_at(path, outcome.zxid);
          if (version != tree::kAnyVersion && now != version + 1) {
            throw Violation(fmt::format("{} written at version {} became {}", path, version, now));
          }
        } else if (outcome.error == Error::kBadVersion && !as_mount) {
          world_.invariants().refused(path, version, outcome);
        }
      });
}

void Client::create_sequential() {
  submit(OpCode::kCreate2,
         tree::create_body("/s/q-", "", tree::open_acl(), tree::kCreateSequential),
         [this](const Outcome& outcome) {
           if (outcome.error == Error::kOk) clients_.sequence_given(outcome.path);
         });
}

void Client::create_ephemeral() {
  std::string path = fmt::format("/e/c{}-{}", number_, next_ephemeral_++);
  submit(OpCode::kCreate2, tree::create_body(path, "", tree::open_acl(), tree::kCreateEphemeral),
         [this, path](const Outcome& outcome) {
           if (outcome.error == Error::kOk) ephemerals_.insert(path);
         });
}

void Client::remove_ephemeral() {
  if (ephemerals_.empty() || *ephemerals_.begin() == lock_path_) return create_ephemeral();
  std::string path = *ephemerals_.begin();  // "/e/..." sorts before "/lock/..."
  ephemerals_.erase(path);
  submit(OpCode::kDelete, tree::delete_body(path, -1), [](const Outcome&) {});
}

// A read shows one state, never one older than this client has seen.
void Client::read() {
  Zxid now = node_->replica().tree().last_zxid();
  if (now < seen_) {
    throw Violation(fmt::format("client {} read 0x{:x} at node {} after it had seen 0x{:x}",
                                number_, now.value, node_->id().value, seen_.value));
  }
  seen_ = now;
  clients_.check_shapes(node_->replica().tree());
  look_at_lock();
}

void Client::sync_and_read() {
  Zxid known_before = world_.invariants().known();
  int64_t asked_us = world_.now_us();
  ++under_way_;
  trace(fmt::format("asks a barrier of node {}", node_->id().value));
  node_->replica().sync(session_, [this, known_before, asked_us, attachment = attachment_,
                                   life = life_, node = node_](const Outcome& outcome) {
    if (node->life() != life || outcome.error != Error::kOk) return;
    Zxid now = node->replica().tree().last_zxid();
    if (now < known_before) {
      throw Violation(
          fmt::format("node {} answered a barrier and reads 0x{:x}, but 0x{:x} was "
                      "known before it",
                      node->id().value, now.value, known_before.value));
    }
    world_.invariants().told(now);
    trace("has its barrier");
    if (attachment != attachment_) return;
    --under_way_;
    seen_ = std::max(seen_, now);
    if (!open_) return;
    if (!node->replica().tree().sessions().contains(session_)) {
      return forget_session();
    }
    deadline_us_ = std::max(deadline_us_, asked_us + kDeadlineUs);
    check_own_ephemerals();
    look_at_lock();
  });
}

// Behind a barrier, in a session that lives: what it made and did not remove is there.
void Client::check_own_ephemerals() {
  const tree::Tree& tree = node_->replica().tree();
  for (const std::string& path : ephemerals_) {
    if (tree.find(path) == nullptr) {
      throw Violation(fmt::format("{} is gone at 0x{:x}, and its session 0x{:x} lives", path,
                                  tree.last_zxid().value, session_.value));
    }
  }
}

// ---- the lock

bool Client::believes_in_lock() const { return lock_held_ && world_.now_us() < deadline_us_; }

void Client::take_lock() {
  if (!lock_path_.empty() || lock_pending_) return;
  lock_pending_ = true;
  submit(OpCode::kCreate2,
         tree::create_body("/lock/l-", "", tree::open_acl(), tree::kCreateEphemeralSequential),
         [this](const Outcome& outcome) {
           lock_pending_ = false;
           if (outcome.error != Error::kOk) return;
           lock_path_ = outcome.path;
           lock_czxid_ = outcome.zxid;
           ephemerals_.insert(outcome.path);
           look_at_lock();
         });
}

void Client::look_at_lock() {
  if (lock_path_.empty() || lock_held_ || world_.now_us() >= deadline_us_) return;
  const tree::Tree& tree = node_->replica().tree();
  const tree::ZNode* directory = tree.find("/lock");
  if (directory == nullptr || tree.find(lock_path_) == nullptr) return;
  bool first = true;
  tree.for_each_child(*directory, [&](const tree::ZNode& node) {
    if ("/lock/" + std::string(node.name.view()) < lock_path_) first = false;
  });
  if (!first) return;
  lock_held_ = true;
  trace("holds the lock");
  clients_.lock_granted(*this);
}

void Client::release_lock() {
  if (lock_path_.empty()) return;
  ephemerals_.erase(lock_path_);
  lock_held_ = false;
  submit(OpCode::kDelete, tree::delete_body(lock_path_, -1), [](const Outcome&) {});
  lock_path_.clear();
}

// ---- what it does next

void Client::act() {
  if (retired_ || world_.now_us() < silent_until_us_ || !attach() || node_->is_paused()) return;
  node_->on_strand([this] {
    if (session_ == tree::SessionId{}) return open_session();
    // A session that could not be opened or kept is given up; what is unknown stays so.
    if (!open_) {
      if (under_way_ == 0) forget_session();
      return;
    }
    if (owned_ != attachment_) return take_session_along();
    if (node_->replica().tree().find("/lock") == nullptr) return make_directories();
    if (under_way_ >= kMaxUnderWay) {
      if (world_.chance(40)) detach();
      return;
    }
    if (node_->wants_only_barriers()) return sync_and_read();
    if (world_.chance(5)) return act_on_tree();
    if (wants_ballast() && world_.chance(3)) return add_ballast();
    switch (world_.random(20)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return append();
      case 4:
        for (int i = 0; i < 3; ++i) append();
        return;
      case 5:
      case 6:
        return write(false);
      case 7:
      case 8:
        return write(true);
      case 9:
        return create_sequential();
      case 10:
        return create_ephemeral();
      case 11:
        return remove_ephemeral();
      case 12:
      case 13:
        return sync_and_read();
      case 14:
      case 15:
        return take_lock();
      case 16:
        return lock_held_ ? release_lock() : read();
      case 17:
        if (world_.chance(30)) {  // it may not come back before its session is over
          trace("falls silent");
          silent_until_us_ = world_.now_us() + world_.random_us(2 * kSessionMs * kMillisecondUs);
        }
        return;
      default:
        return read();
    }
  });
}

bool Client::can_write() const {
  return node_ != nullptr && node_->is_up() && life_ == node_->life() && !node_->is_paused() &&
         !retired_ && open_ && owned_ == attachment_;
}

void Client::reconfigure(const consensus::Ensemble& next) {
  node_->on_strand([&] {
    submit(OpCode::kReconfig, consensus::reconfig_body(next), [this](const Outcome& outcome) {
      if (outcome.error == Error::kOk) world_.trace("RECONFIGURED");
    });
  });
}

void Client::probe(SimNode& node, const std::shared_ptr<bool>& answered) {
  node.on_strand([&] {
    if (node_ != &node || life_ != node.life()) {
      forget_session();
      node_ = &node;
      life_ = node.life();
    }
    if (session_ == tree::SessionId{}) return open_session();
    if (!open_ || under_way_ > 0) return;
    std::string token = clients_.next_token();
    world_.invariants().attempted(token);
    tree::ExtAppend ext;
    ext.path = "/f0";
    ext.data = token + "\n";
    submit(OpCode::kExtAppend, encode(ext), [this, token, answered](const Outcome& outcome) {
      if (outcome.error == Error::kNoNode) {
        submit(OpCode::kCreate,
               tree::create_body("/f0", "", tree::open_acl(), tree::kCreatePersistent),
               [](const Outcome&) {});
      }
      if (outcome.error != Error::kOk) return;
      world_.invariants().acknowledged(token);
      *answered = true;
    });
  });
}

// ---- all of them

Clients::Clients(World& world, int count) : world_(world) {
  for (int i = 1; i <= count; ++i) clients_.push_back(std::make_unique<Client>(*this, world, i));
}

void Clients::run(int64_t until_us) {
  if (world_.now_us() >= until_us) return;
  clients_[world_.random(clients_.size())]->act();
  world_.after(1'000 + world_.random_us(40'000), [this, until_us] { run(until_us); });
}

void Clients::probe(SimNode& node, const std::shared_ptr<bool>& answered) {
  clients_.front()->probe(node, answered);
}

void Clients::reconfigure(int64_t until_us) {
  int64_t wait_us = kSecondUs / 10 + world_.random_us(2 * kSecondUs);
  if (world_.now_us() + wait_us > until_us) return;
  world_.after(wait_us, [this, until_us] {
    reconfigure(until_us);
    auto& nodes = world_.nodes();
    Client& client = *clients_[world_.random(clients_.size())];
    if (!client.can_write()) return;
    SimNode& node = client.node();
    std::map<ServerId, consensus::Member> members = node.replica().zab().ensemble().members();
    // Several at once, so that majorities before and after need not meet.
    for (uint64_t i = 0; i <= world_.random(nodes.size()); ++i) {
      ServerId subject = nodes[world_.random(nodes.size())]->id();
      bool leaves = members.erase(subject) > 0 && world_.chance(2);
      if (!leaves) members[subject] = SimNode::as_member(subject, world_.chance(3));
    }
    consensus::Hierarchy hierarchy;
    if (world_.options().grouped && world_.chance(2)) hierarchy = SimNode::groups_of(members);
    consensus::Ensemble next(std::move(members), 0, std::move(hierarchy));
    world_.reconfigures();
    client.reconfigure(next);
  });
}

void Clients::retire_some() {
  for (size_t i = 0; i < clients_.size(); i += 2) clients_[i]->retire();
}

void Clients::check_sessions(const tree::Tree& tree, const Mounts& mounts) const {
  for (const auto& [session, ignored] : tree.sessions()) {
    if (mounts.has(session)) continue;
    bool alive = std::any_of(clients_.begin(), clients_.end(), [id = session](const auto& client) {
      return client->session() == id;
    });
    if (!alive) {
      throw Violation(fmt::format("session 0x{:x} has been without its client for long, and lives",
                                  session.value));
    }
  }
}

void Clients::lock_granted(const Client& client) {
  for (const auto& other : clients_) {
    if (other.get() == &client || !other->believes_in_lock()) continue;
    throw Violation(
        fmt::format("clients {} and {} both hold the lock", other->number(), client.number()));
  }
  if (client.lock_czxid() <= last_lock_) {
    throw Violation(fmt::format("the lock's token falls from 0x{:x} to 0x{:x}", last_lock_.value,
                                client.lock_czxid().value));
  }
  last_lock_ = client.lock_czxid();
  ++locks_granted_;
}

void Clients::sequence_given(const std::string& path) {
  if (!sequences_.insert(path).second) throw Violation(path + " was given twice");
}

}  // namespace zabfs::sim
