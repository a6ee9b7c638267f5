#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>

namespace zabfs::sim {

using consensus::Notification;
using consensus::Packet;
using consensus::Replica;

namespace {

constexpr int32_t kTickMs = 500;

consensus::Ensemble make_ensemble(const WorldOptions& options) {
  std::map<ServerId, consensus::Member> members;
  for (size_t i = 1; i <= options.voters + options.observers; ++i) {
    consensus::Member member;
    member.host = "node" + std::to_string(i);
    member.quorum_port = 2888;
    member.election_port = 3888;
    member.observer = i > options.voters;
    members[ServerId{static_cast<int64_t>(i)}] = member;
  }
  return consensus::Ensemble(members);
}

}  // namespace

World::World(WorldOptions options) : options_(options), random_(options.seed) {
  for (size_t i = 1; i <= options_.voters + options_.observers; ++i) {
    nodes_.push_back(std::make_unique<SimNode>(*this, ServerId{static_cast<int64_t>(i)}));
  }
}

World::~World() = default;

void World::trace(const std::string& line) {
  if (options_.trace) fmt::print("{:>10.3f} ms  {}\n", static_cast<double>(now_us_) / 1000, line);
}

void World::after(int64_t delay_us, std::function<void()> event, const SimNode* node) {
  events_.push(Scheduled{now_us_ + delay_us, next_event_++, std::move(event),
                         node != nullptr ? node->id() : ServerId{},
                         node != nullptr ? node->life() : 0});
}

void World::run_until(int64_t time_us) {
  while (!events_.empty() && events_.top().time_us <= time_us) {
    Scheduled next = std::move(const_cast<Scheduled&>(events_.top()));  // popped at once
    events_.pop();
    now_us_ = next.time_us;
    if (next.node != ServerId{} && node(next.node).life() != next.life) continue;
    ++events_run_;
    next.event();
  }
  now_us_ = std::max(now_us_, time_us);
}

// ---- faults

void World::crash(SimNode& node) {
  if (!node.is_up()) return;
  trace(fmt::format("node {} crashes", node.id().value));
  node.stop();
  node.disk().crash();
  close_all(node.id());
}

void World::restart(SimNode& node) {
  if (node.is_up()) return;
  trace(fmt::format("node {} starts", node.id().value));
  node.start();
  for (const auto& [pair, vote] : last_votes_) {
    // As the real mesh: a new connection repeats the last vote.
    if (pair.second == node.id() && this->node(pair.first).is_up()) {
      deliver_vote(pair.first, pair.second, Notification(vote));
    }
  }
}

void World::cut(ServerId from, ServerId to) { cuts_.insert({from, to}); }

void World::heal() {
  cuts_.clear();
  auto votes = last_votes_;
  for (const auto& [pair, vote] : votes) {
    if (node(pair.first).is_up()) deliver_vote(pair.first, pair.second, vote);
  }
}

// ---- network

void World::deliver_vote(ServerId from, ServerId to, const Notification& vote) {
  last_votes_[{from, to}] = vote;
  SimNode& target = node(to);
  if (!target.is_up() || is_cut_either_way(from, to)) return;
  after(
      static_cast<int64_t>(100 + random(2'000)),
      [&target, from, vote] { target.on_strand([&] { target.replica().on_vote(from, vote); }); },
      &target);
}

void World::dial(ServerId from, ServerId to, LinkId link) {
  SimNode& dialler = node(from);
  SimNode& target = node(to);
  after(
      static_cast<int64_t>(100 + random(2'000)),
      [this, &dialler, &target, link] {
        if (!target.is_up() || is_cut_either_way(dialler.id(), target.id())) {
          dialler.on_strand([&] { dialler.replica().on_link_down(link); });
          return;
        }
        auto connection = std::make_shared<Connection>();
        connection->ends[0] = dialler.id();
        connection->ends[1] = target.id();
        connection->links[0] = link;
        LinkId accepted = target.replica().new_link_id();
        connection->links[1] = accepted;
        connections_[{dialler.id(), link}] = connection;
        connections_[{target.id(), accepted}] = connection;
        target.on_strand([&] { target.replica().on_link_accepted(accepted); });
        if (dialler.is_up()) dialler.on_strand([&] { dialler.replica().on_link_up(link); });
      },
      &dialler);
}

std::shared_ptr<World::Connection> World::find_connection(ServerId node, LinkId link, int& end) {
  auto place = connections_.find({node, link});
  if (place == connections_.end()) return nullptr;
  end = place->second->links[0] == link && place->second->ends[0] == node ? 0 : 1;
  return place->second;
}

void World::send(ServerId from, LinkId link, const std::string& bytes) {
  int end = 0;
  std::shared_ptr<Connection> connection = find_connection(from, link, end);
  if (!connection || !connection->open || connection->broken) return;
  ServerId to = connection->ends[1 - end];
  if (is_cut(from, to)) {
    // Lost: TCP would retry; here the connection is as good as dead, and told so some time later.
    connection->broken = true;
    lose(connection, static_cast<int64_t>(random(5'000'000)));
    return;
  }
  int64_t at = now_us_ + 50 + static_cast<int64_t>(chance(50) ? random(20'000) : random(500));
  at = std::max(at, connection->last_delivery_us[end] + 1);
  connection->last_delivery_us[end] = at;
  SimNode& target = node(to);
  LinkId target_link = connection->links[1 - end];
  after(
      at - now_us_,
      [this, &target, target_link, connection, bytes] {
        if (!connection->open || connection->broken) return;
        Replica& replica = target.replica();
        target.on_strand([&] {
          consensus::LinkReader::Handlers handlers;
          handlers.packet = [&](Packet packet) {
            replica.on_packet(target_link, std::move(packet));
          };
          handlers.snapshot = [&](std::unique_ptr<tree::Tree> tree) {
            replica.on_snapshot(target_link, std::move(tree));
          };
          std::string error = target.reader(target_link)->feed(bytes, handlers);
          if (!error.empty()) throw Violation("a peer sent malformed bytes: " + error);
        });
      },
      &target);
}

// Both ends learn that a connection is gone.
void World::lose(const std::shared_ptr<Connection>& connection, int64_t delay_us) {
  after(delay_us, [this, connection] {
    if (!std::exchange(connection->open, false)) return;
    for (int end : {0, 1}) {
      SimNode& side = node(connection->ends[end]);
      LinkId link = connection->links[end];
      connections_.erase({side.id(), link});
      if (!side.is_up()) continue;
      side.forget_reader(link);
      side.on_strand([&] { side.replica().on_link_down(link); });
    }
  });
}

void World::close(ServerId from, LinkId link) {
  int end = 0;
  std::shared_ptr<Connection> connection = find_connection(from, link, end);
  if (!connection) return;
  connections_.erase({from, link});
  node(from).forget_reader(link);
  if (!std::exchange(connection->open, false)) return;
  SimNode& other = node(connection->ends[1 - end]);
  LinkId other_link = connection->links[1 - end];
  after(
      static_cast<int64_t>(100 + random(1'000)),
      [this, &other, other_link] {
        if (connections_.erase({other.id(), other_link}) == 0) return;
        other.forget_reader(other_link);
        other.on_strand([&] { other.replica().on_link_down(other_link); });
      },
      &other);
}

void World::close_all(ServerId id) {
  std::vector<LinkId> links;
  for (const auto& [key, connection] : connections_) {
    if (key.first == id) links.push_back(key.second);
  }
  for (LinkId link : links) close(id, link);
}

void World::reset_links(ServerId a, ServerId b) {
  std::vector<std::shared_ptr<Connection>> found;
  for (const auto& [key, connection] : connections_) {
    if (key.first == a && (connection->ends[0] == b || connection->ends[1] == b)) {
      found.push_back(connection);
    }
  }
  for (auto& connection : found) lose(connection, 1);
}

// ---- a node

SimNode::SimNode(World& world, ServerId id)
    : world_(world), id_(id), disk_(world.options().seed * 31 + static_cast<uint64_t>(id.value)) {}

void SimNode::start() {
  ++life_;
  io_free_us_ = world_.now_us();
  skew_ms_ = static_cast<int64_t>(world_.random(100'000));
  consensus::ReplicaConfig config;
  config.zab.me = id_;
  config.zab.ensemble = make_ensemble(world_.options());
  config.zab.tick_ms = kTickMs;
  config.zab.init_limit = 10;
  config.zab.sync_limit = 5;
  config.segment_bytes = 16u << 10;
  config.snapshot_txns = 60;
  replica_ = std::make_unique<Replica>(config, *this, *this, disk_, disk_);
  std::string error;
  try {
    error = replica_->recover();
  } catch (const CrashNow&) {
    world_.crash(*this);
    return;
  }
  if (!error.empty()) throw Violation(fmt::format("node {} can't start: {}", id_.value, error));
  replica_->set_listener(this);
  world_.invariants().starts_at(id_, replica_->tree().last_zxid());
  world_.invariants().tree_at(id_, replica_->tree());
  on_strand([this] { replica_->start(); });
}

void SimNode::stop() {
  ++life_;
  replica_.reset();
  readers_.clear();
}

void SimNode::on_strand(const std::function<void()>& body) {
  if (!is_up()) return;
  try {
    body();
    replica_->end_of_batch();
    world_.invariants().check_node(id_, *replica_);
  } catch (const CrashNow&) {
    world_.crash(*this);
  }
}

void SimNode::wake_at(int64_t time_ms) {
  uint64_t number = ++wake_number_;
  if (time_ms == INT64_MAX) return;
  int64_t delay_ms = std::max<int64_t>(time_ms - now_ms(), 1);
  world_.after(
      delay_ms * 1000,
      [this, number] {
        if (number == wake_number_) on_strand([this] { replica_->on_timer(); });
      },
      this);
}

void SimNode::run_io(std::function<void()> job, std::function<void()> done) {
  // One lane: jobs run one after the other.
  int64_t start_us = std::max(io_free_us_, world_.now_us());
  io_free_us_ =
      start_us + 100 +
      static_cast<int64_t>(world_.chance(100) ? world_.random(50'000) : world_.random(800));
  world_.after(
      io_free_us_ - world_.now_us(),
      [this, job = std::move(job), done = std::move(done)] {
        on_strand([&] {
          job();
          done();
        });
      },
      this);
}

void SimNode::run_background(std::function<void()> job, std::function<void()> done) {
  world_.after(
      static_cast<int64_t>(1'000 + world_.random(100'000)),
      [this, job = std::move(job), done = std::move(done)] {
        on_strand([&] {
          job();
          done();
        });
      },
      this);
}

void SimNode::log(consensus::LogLevel, const std::string& line) { world_.trace(line); }

void SimNode::die(const std::string& why) {
  throw Violation(fmt::format("node {} dies: {}", id_.value, why));
}

void SimNode::send_vote(ServerId to, const Notification& notification) {
  world_.deliver_vote(id_, to, notification);
}

void SimNode::dial(ServerId leader, LinkId link) { world_.dial(id_, leader, link); }
void SimNode::send(LinkId link, const std::string& bytes) { world_.send(id_, link, bytes); }

void SimNode::close(LinkId link, const std::string& reason) {
  world_.trace(fmt::format("node {} closes a link: {}", id_.value, reason));
  world_.close(id_, link);
}

void SimNode::before_publish(const std::vector<tree::Txn>& txns) {
  for (const tree::Txn& txn : txns) {
    std::string bytes;
    tree::encode_txn(txn, bytes);
    world_.invariants().applied(id_, txn, bytes);
  }
}

void SimNode::published(const std::vector<tree::Change>&) {
  world_.invariants().tree_at(id_, replica_->tree());
}

void SimNode::tree_replaced() {
  world_.invariants().starts_at(id_, replica_->tree().last_zxid());
  world_.invariants().tree_at(id_, replica_->tree());
}

}  // namespace zabfs::sim
