// One simulated machine: the replica's environment and transport.
#include <fmt/format.h>

#include <algorithm>

#include "sim/world.h"

namespace zabfs::sim {

using consensus::Notification;
using consensus::Replica;

namespace {

constexpr int32_t kTickMs = 500;
constexpr int64_t kReapMs = 1'500;
// To one other node in a second: three elections in which every vote changes some, and replies. Two
// that answer each other without end send hundreds.
constexpr size_t kMaxVotes = 60;
constexpr size_t kTxnAddsBytes = 192;
constexpr size_t kCloseSessionBytes = 256;

}  // namespace

consensus::Member SimNode::as_member(ServerId id, bool observer) {
  return {"node" + std::to_string(id.value), 2888, 3888, observer, ""};
}

consensus::Hierarchy SimNode::groups_of(const std::map<ServerId, consensus::Member>& members) {
  std::map<int64_t, std::string> groups;
  consensus::Hierarchy hierarchy;
  ServerId last;
  for (const auto& [id, member] : members) {
    if (member.observer) continue;
    last = id;
    std::string& group = groups[id.value % 3];
    group += (group.empty() ? "" : ":") + std::to_string(id.value);
  }
  for (const auto& [number, servers] : groups) {
    static_cast<void>(hierarchy.take("group." + std::to_string(number), servers));
  }
  for (const auto& [id, member] : members) {
    if (member.observer) continue;
    int64_t weight = id == last && id.value > 3 ? 0 : 1 + id.value % 2;
    static_cast<void>(hierarchy.take("weight." + std::to_string(id.value), std::to_string(weight)));
  }
  hierarchy.complete(members);
  return hierarchy;
}

consensus::Ensemble SimNode::make_ensemble(const WorldOptions& options) {
  std::map<ServerId, consensus::Member> members;
  for (size_t i = 1; i <= options.voters + options.observers; ++i) {
    ServerId id{static_cast<int64_t>(i)};
    members[id] = as_member(id, i > options.voters);
  }
  consensus::Hierarchy hierarchy;
  if (options.grouped) hierarchy = groups_of(members);
  return consensus::Ensemble(std::move(members), 0, std::move(hierarchy));
}

SimNode::SimNode(World& world, ServerId id)
    : world_(world),
      id_(id),
      disk_(world.options().seed * 31 + static_cast<uint64_t>(id.value)),
      snapshot_disk_(world.options().seed * 37 + static_cast<uint64_t>(id.value)) {
  impaired_ = id == world.options().joiner;  // it has nothing yet
  membership_ = consensus::Membership(make_ensemble(world.options()));
  told_to_initialize_ = world.options().joiner != ServerId{} && !impaired_ && is_voter();
}

std::vector<SimDisk*> SimNode::disks() {
  if (world_.options().separate_disks) return {&disk_, &snapshot_disk_};
  return {&disk_};
}

bool SimNode::is_disk_limited() { return disk_.is_limited() || snapshot_disk().is_limited(); }

consensus::ReplicaConfig SimNode::make_config() const {
  const WorldOptions& options = world_.options();
  consensus::ReplicaConfig config;
  config.zab.me = id_;
  config.zab.ensemble = world_.ensemble();
  config.zab.wants_vote = is_voter();
  config.reconfig_enabled = options.reconfigures;
  config.super_digest = kSimSuperDigest;
  config.max_fetch_bytes = 2u << 10;
  config.zab.tick_ms = kTickMs;
  config.zab.init_limit = 10;
  config.zab.sync_limit = 5;
  if (world_.options().txns_per_epoch != 0) {
    config.zab.last_counter = world_.options().txns_per_epoch;
  }
  config.segment_bytes = 16u << 10;
  config.snapshot_txns = 60;
  // Little, much, or none; the clock is some hours from the one in the txns, either way.
  config.history = {uint64_t{64u << 10} << options.seed % 4, 3'600'000};
  if (options.seed % 5 == 0) config.history.max_bytes = 0;
  config.initialize = told_to_initialize_;
  config.window_txns = 20;
  config.prepare.extended_types = true;
  config.prepare.max_txn_bytes = 32u << 10;
  config.prepare.enforce_quota = world_.options().enforces_quota;
  config.reap_interval_ms = kReapMs;
  config.min_diff_bytes = 6u << 10;
  // With ballast, txns are large.
  size_t unit = options.ballast_bytes == 0 ? 1u << 10 : 16u << 10;
  config.max_pending_bytes = 4 * unit;
  config.max_log_queue_bytes = 2 * unit;
  config.max_supply_bytes = 32 * unit;
  config.piece_bytes = options.seed % 2 == 0 || options.bytes_per_s != 0 ? 4u << 10 : 64u << 10;
  return config;
}

void SimNode::start() {
  ++life_;
  io_ = background_ = {world_.now_us(), 0};
  held_.clear();
  paused_until_us_ = deaf_until_us_ = slow_until_us_ = timers_late_until_us_ = 0;
  checked_durable_ = tree::Zxid{};
  armed_us_ = INT64_MAX;
  skew_ms_ = static_cast<int64_t>(world_.random(100'000));
  drift_ppm_ = static_cast<int64_t>(world_.random(2'000)) - 1'000;
  replica_ = std::make_unique<Replica>(make_config(), *this, *this, disk_, snapshot_disk());
  std::string error;
  try {
    error = replica_->recover().why();
  } catch (const CrashNow&) {
    world_.crash(*this);
    return;
  }
  if (!error.empty()) {
    bool alone = world_.options().voters == 1;
    if (is_disk_limited() || (alone && damage_expected_)) {
      // It said so and refused. The operator makes room, or gives it up.
      world_.trace(fmt::format("node {} refuses to start: {}", id_.value, error));
      stop();
      return;
    }
    throw Violation(fmt::format("node {} can't start: {}", id_.value, error));
  }
  // A crash right behind that may bring the file back.
  if (!world_.chance(4)) told_to_initialize_ = false;
  membership_ = replica_->zab().membership();
  check_vote();
  replica_->add_listener(this);
  world_.invariants().starts_at(id_, replica_->tree().last_zxid());
  world_.invariants().tree_at(id_, replica_->tree());
  on_strand([this] { replica_->start(); });
}

// A crash alone never costs a node its vote.
void SimNode::check_vote() {
  bool votes = replica_->zab().state().votes;
  if (had_vote_ && !votes && !impaired_) {
    throw Violation(fmt::format("node {} lost its vote, and its disk had lost nothing", id_.value));
  }
}

void SimNode::after_step() {
  const consensus::Zab& zab = replica_->zab();
  world_.invariants().check_node(id_, *replica_);
  if (zab.membership().changes() != membership_.changes()) membership_ = zab.membership();
  check_vote();
  check_durable();
  check_prefix();
  check_bounds();
  if (!zab.state().votes) return;
  had_vote_ = true;
  if (impaired_ && zab.role() != consensus::Role::kSettling) {
    impaired_ = false;
    world_.trace(fmt::format("node {} is whole again", id_.value));
  }
}

// Nothing that waits grows with how slow a disk or a peer is.
void SimNode::check_bounds() {
  const consensus::ReplicaConfig& config = replica_->config();
  // A batch may bring a piece from everybody, and what this node asks for itself.
  size_t batch_bytes =
      2 * config.max_pending_bytes + 2 * std::min(config.piece_bytes, kMaxUnsentBytes);
  // Requests are counted by their bodies. A txn has more: its header, an ACL, an owner, times.
  size_t added_bytes = kTxnAddsBytes * replica_->pending_count();
  // Those that expire are closed, however long the log's disk takes.
  size_t closing_bytes = kCloseSessionBytes * replica_->tree().sessions().size();
  auto check = [this](const char* what, size_t value, size_t limit) {
    if (value <= limit) return;
    throw Violation(fmt::format("node {}: {} {}, the limit is {}", id_.value, value, what, limit));
  };
  check("bytes of requests under way", replica_->pending_bytes(), config.max_pending_bytes);
  check("bytes wait for the log", replica_->log_queue_bytes(),
        config.max_log_queue_bytes + batch_bytes + added_bytes + closing_bytes);
  check("bytes wait for a learner", replica_->supply_bytes(),
        config.max_supply_bytes + batch_bytes);
  check("links", world_.link_count(id_), 4 * world_.nodes().size());
}

void SimNode::stop() {
  ++life_;
  forget_votes();
  replica_.reset();
  readers_.clear();
}

// What was put off until then stays put off: a pause never ends early.
void SimNode::pause(int64_t us) {
  paused_until_us_ = std::max(paused_until_us_, world_.now_us() + us);
}

void SimNode::go_deaf(int64_t us, bool only_barriers) {
  only_barriers_ = only_barriers;
  deaf_until_us_ = std::max(deaf_until_us_, world_.now_us() + us);
}

void SimNode::suspend(int64_t us) {
  pause(us);
  if (armed_us_ == INT64_MAX) return;
  armed_us_ = std::max(armed_us_, world_.now_us()) + us;
  arm();
}

void SimNode::delay_timers(int64_t up_to_us, int64_t us) {
  timers_late_us_ = std::max<int64_t>(up_to_us, 1);
  timers_late_until_us_ = world_.now_us() + us;
}

void SimNode::slow_down(int64_t factor, int64_t us) {
  slow_factor_ = factor;
  slow_until_us_ = world_.now_us() + us;
}

void SimNode::wipe(const std::vector<SimDisk*>& disks) {
  for (SimDisk* disk : disks) disk->wipe();
  membership_ = consensus::Membership(make_ensemble(world_.options()));
  had_vote_ = told_to_initialize_ = false;
  expect_damage();
}

void SimNode::wake_at(int64_t time_ms) {
  // As the real host: a timer that fires too early costs one look at the clock.
  if (time_ms == INT64_MAX) return;
  int64_t at_us = world_.now_us() + std::max<int64_t>(time_ms - now_ms(), 1) * 1000;
  if (world_.now_us() < timers_late_until_us_) at_us += world_.random_us(timers_late_us_);
  if (at_us >= armed_us_) return;
  armed_us_ = at_us;
  arm();
}

void SimNode::post(std::function<void()> event) {
  world_.after(
      1 + world_.random_us(200), [this, event = std::move(event)] { on_strand(event); }, this);
}

void SimNode::post_after(int64_t delay_ms, std::function<void()> event) {
  int64_t delay_us = std::max<int64_t>(delay_ms, 0) * 1000;
  if (world_.now_us() < timers_late_until_us_) delay_us += world_.random_us(timers_late_us_);
  world_.after(
      delay_us, [this, event = std::move(event)] { on_strand(event); }, this, true);
}

void SimNode::arm() {
  uint64_t number = ++wake_number_;
  world_.after(
      armed_us_ - world_.now_us(),
      [this, number] {
        if (number != wake_number_) return;
        armed_us_ = INT64_MAX;
        on_strand([this] { replica_->on_timer(); });
      },
      this, true);
}

void SimNode::run_lane(SimLane& lane, int64_t time_us, std::function<void()> job,
                       std::function<void()> done) {
  lane.free_us = std::max(lane.free_us, world_.now_us()) + time_us;
  // The strand comes to it at once, mostly.
  lane.told_us =
      std::max(lane.told_us, lane.free_us) + (world_.chance(8) ? world_.random_us(5'000) : 1);
  auto run = [this, job = std::move(job)] {
    try {
      job();
    } catch (const CrashNow&) {
      world_.crash(*this);
    }
  };
  world_.after(lane.free_us - world_.now_us(), std::move(run), this);
  world_.after(
      lane.told_us - world_.now_us(),
      [this, done = std::move(done)] { on_strand([&] { done(); }); }, this);
}

void SimNode::run_io(std::function<void()> job, std::function<void()> done) {
  int64_t time_us = 100 + (world_.chance(100) ? world_.random_us(50'000) : world_.random_us(800));
  if (world_.now_us() < slow_until_us_) time_us *= slow_factor_;
  run_lane(io_, time_us, std::move(job), std::move(done));
}

void SimNode::run_background(std::function<void()> job, std::function<void()> done) {
  int64_t time_us = 200 + world_.random_us(world_.chance(3) ? 100'000 : 5'000);
  run_lane(background_, time_us, std::move(job), std::move(done));
}

void SimNode::log(consensus::LogLevel, const std::string& line) {
  world_.trace(line);
  if (!damage_expected_ && line.find("DAMAGE") != std::string::npos) {
    throw Violation("a disk that only crashed looks damaged: " + line);
  }
}

void SimNode::die(const std::string& why) {
  // Damage and a full disk at once can leave no way on, until there is room.
  bool no_room = is_disk_limited() && why.find("No space") != std::string::npos;
  if (!no_room && !std::exchange(death_expected_, false)) {
    throw Violation(fmt::format("node {} dies: {}", id_.value, why));
  }
  world_.trace(fmt::format("node {} ends itself: {}", id_.value, why));
  throw CrashNow();
}

// However nodes answer each other, nobody is kept busy with it.
void SimNode::count_vote(ServerId to) {
  std::deque<int64_t>& sent_us = votes_sent_us_[to];
  // Who stood still answers at once all that came meanwhile.
  if (world_.now_us() < held_until_us(true) + kSecondUs) return sent_us.clear();
  sent_us.push_back(world_.now_us());
  while (sent_us.front() < world_.now_us() - kSecondUs) sent_us.pop_front();
  if (sent_us.size() <= kMaxVotes) return;
  throw Violation(fmt::format("node {} sends node {} more than {} votes in a second", id_.value,
                              to.value, kMaxVotes));
}

void SimNode::send_vote(ServerId to, const Notification& notification) {
  count_vote(to);
  world_.deliver_vote(id_, to, notification);
}

void SimNode::dial(ServerId leader, LinkId link) { world_.dial(id_, leader, link); }
void SimNode::hold(LinkId link, bool held) {
  if (held) {
    held_.insert(link);
  } else if (held_.erase(link) != 0) {
    world_.release(id_, link);
  }
}
void SimNode::send(LinkId link, const std::string& bytes) {
  check_sent(link, bytes);
  world_.send(id_, link, bytes);
}

void SimNode::close(LinkId link, const std::string& reason) {
  world_.trace(fmt::format("node {} closes a link: {}", id_.value, reason));
  world_.close(id_, link);
}

void SimNode::before_publish(const std::vector<tree::Txn>& txns) {
  closed_session_ = false;
  for (const tree::Txn& txn : txns) {
    world_.invariants().applied(id_, txn);
    closed_session_ = closed_session_ || txn.header.type == tree::OpCode::kCloseSession;
  }
}

void SimNode::published(const std::vector<tree::Change>&) {
  world_.invariants().tree_at(id_, replica_->tree());
  if (closed_session_) world_.invariants().check_ephemerals(id_, replica_->tree());
}

void SimNode::before_replace() { replaced_ = &replica_->tree(); }

void SimNode::tree_replaced() {
  if (replaced_ == nullptr || replaced_ == &replica_->tree()) {
    throw Violation(fmt::format("node {} shows another tree before caches of it went", id_.value));
  }
  replaced_ = nullptr;
  world_.invariants().starts_at(id_, replica_->tree().last_zxid());
  world_.invariants().tree_at(id_, replica_->tree());
}

}  // namespace zabfs::sim
