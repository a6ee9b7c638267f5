#include "sim/faults.h"

#include <fmt/format.h>

#include <algorithm>

#include "consensus/log_reader.h"

namespace zabfs::sim {

namespace {

// How often each kind comes, in order of FaultKind.
constexpr int kWeights[kFaultKinds] = {10, 14, 2, 6, 4, 3, 8, 5, 6, 3, 4, 8,
                                       2,  2,  4, 3, 3, 2, 2, 3, 3, 3, 3, 3};
constexpr int64_t kShortestGapUs = 50 * kMillisecondUs;
constexpr int64_t kLongestGapUs = 1'500 * kMillisecondUs;
constexpr int64_t kWordsUs = 300 * kMillisecondUs;  // a follower answers a ping within that
constexpr int64_t kBarrierGapUs = 200 * kMillisecondUs;
constexpr int64_t kReconfigUs = 3 * kSecondUs;
constexpr int64_t kRolesEndUs = 600 * kMillisecondUs;  // without a quorum
constexpr int64_t kShortestDenseGapUs = 5 * kMillisecondUs;
constexpr int64_t kLongestDenseGapUs = 400 * kMillisecondUs;

SimDisk& pick(SimNode& node, uint64_t detail) {
  return detail % 2 == 0 ? node.disk() : node.snapshot_disk();
}

}  // namespace

const char* fault_name(FaultKind kind) {
  static constexpr const char* kNames[kFaultKinds] = {
      "crash",          "crash in I/O", "power loss",   "pause",    "deaf",       "slow disk",
      "isolate",        "split",        "one-way loss", "flapping", "stall",      "reset",
      "clock jump",     "sync fails",   "disk full",    "wipe",     "rot",        "bad sector",
      "rot everywhere", "suspend",      "late timers",  "hang",     "last words", "miselection"};
  return kNames[static_cast<int>(kind)];
}

std::vector<Fault> plan_faults(uint64_t seed, int64_t from_us, int64_t dense_until_us,
                               int64_t until_us) {
  std::mt19937_64 random(seed * 0x9e3779b97f4a7c15 + 1);
  // A seed has its own mix: some kinds not at all, some often, so that rare ones meet each other.
  std::vector<double> weights(std::begin(kWeights), std::end(kWeights));
  for (double& weight : weights) {
    uint64_t taste = random() % 4;
    if (taste == 0) weight = 0;
    if (taste == 3) weight *= 3;
  }
  weights[0] += 1;
  std::discrete_distribution<int> kinds(weights.begin(), weights.end());
  std::vector<Fault> plan;
  for (int64_t at_us = from_us; at_us < until_us;) {
    Fault fault;
    fault.at_us = at_us;
    fault.kind = static_cast<FaultKind>(kinds(random));
    fault.node = random();
    fault.other = random();
    bool is_long = random() % 5 == 0;
    fault.duration_us =
        10 * kMillisecondUs + static_cast<int64_t>(random() % (is_long ? 8'000'000 : 1'500'000));
    fault.detail = random();
    plan.push_back(fault);
    bool is_dense = at_us < dense_until_us;
    int64_t shortest_us = is_dense ? kShortestDenseGapUs : kShortestGapUs;
    int64_t longest_us = is_dense ? kLongestDenseGapUs : kLongestGapUs;
    uint64_t gap_us = random() % static_cast<uint64_t>(longest_us - shortest_us);
    at_us += shortest_us + static_cast<int64_t>(gap_us);
  }
  return plan;
}

std::string describe(const Fault& fault, size_t nodes) {
  return fmt::format("{:>10.3f} ms  {} node {} (other {}) for {} ms",
                     static_cast<double>(fault.at_us) / 1000, fault_name(fault.kind),
                     fault.node % nodes + 1, fault.other % nodes + 1, fault.duration_us / 1000);
}

void Faults::schedule(const std::vector<Fault>& plan) {
  for (const Fault& fault : plan) {
    world_.after(fault.at_us - world_.now_us(), [this, fault] { strike(fault); });
  }
}

void Faults::end_all() {
  world_.heal();
  for (auto& node : world_.nodes()) {
    for (SimDisk* disk : node->disks()) disk->end_faults();
    if (!node->is_up()) world_.restart(*node);
  }
}

void Faults::revive(SimNode& node, int64_t delay_us) {
  world_.after(delay_us, [this, &node] { world_.restart(node); });
}

// Whether this node's disk may lose something: in every configuration that may count now, the
// voters that are whole are still a quorum without it. What was never given a vote has nothing to
// lose.
bool Faults::may_lose(const SimNode& node) const {
  // One that was asked for may be proposed at any time, with this node's part in its quorum.
  if (world_.options().reconfigures && !is_reconfigured()) return false;
  if (!node.has_promised()) return true;
  tree::ServerId id = node.id();
  for (const consensus::Ensemble& ensemble : world_.configurations()) {
    if (!ensemble.is_voter(id)) continue;
    std::set<tree::ServerId> whole;
    for (const auto& other : world_.nodes()) {
      if (other->id() != id && other->is_whole()) whole.insert(other->id());
    }
    if (!ensemble.is_quorum(whole)) return false;
  }
  return true;
}

// The last change of members is over: all that are there serve, and agree.
bool Faults::is_reconfigured() const {
  if (world_.now_us() < world_.reconfigured_us() + kReconfigUs) return false;
  std::set<int64_t> versions;
  for (const auto& node : world_.nodes()) {
    if (!node->is_up()) continue;
    const consensus::Zab& zab = node->replica().zab();
    if (!zab.is_serving() || zab.membership().proposed() != nullptr) return false;
    versions.insert(zab.ensemble().version());
  }
  return versions.size() == 1;
}

void Faults::strike(const Fault& fault) {
  auto& nodes = world_.nodes();
  SimNode& node = *nodes[fault.node % nodes.size()];
  SimNode& other = *nodes[fault.other % nodes.size()];
  std::vector<SimNode*> all;
  for (auto& any : nodes) all.push_back(any.get());
  bool struck = true;
  world_.trace(fmt::format("FAULT {} node {}", fault_name(fault.kind), node.id().value));
  switch (fault.kind) {
    case FaultKind::kCrash:
      // Its last words may come when it is there again.
      if (fault.detail % 4 == 0) {
        world_.make_late(node.id(), world_.now_us() + world_.random_us(2 * kSecondUs));
      }
      world_.crash(node);
      revive(node, fault.duration_us);
      break;
    case FaultKind::kCrashInIo:
      if (node.is_up()) pick(node, fault.detail / 40).crash_in(1 + fault.detail % 40);
      revive(node, fault.duration_us + kSecondUs);
      break;
    case FaultKind::kPowerLoss:
      for (SimNode* any : all) world_.crash(*any);
      for (SimNode* any : all) revive(*any, world_.random_us(fault.duration_us));
      break;
    case FaultKind::kPause:
      node.pause(fault.duration_us);
      break;
    case FaultKind::kDeaf:
      node.go_deaf(2 * fault.duration_us, fault.detail % 2 == 0);
      break;
    case FaultKind::kSlowDisk:
      node.slow_down(2 + static_cast<int64_t>(fault.detail % 200), fault.duration_us);
      break;
    case FaultKind::kIsolate:
      cut_between({&node}, all, true, fault.duration_us);
      break;
    case FaultKind::kSplit: {
      std::vector<SimNode*> halves[2];
      for (size_t i = 0; i < all.size(); ++i) halves[fault.detail >> i & 1].push_back(all[i]);
      cut_between(halves[0], halves[1], true, fault.duration_us);
      break;
    }
    case FaultKind::kOneWay:
      if (fault.detail % 2 == 0) {
        cut_between({&node}, all, false, fault.duration_us);
      } else {
        cut_between({&node}, {&other}, false, fault.duration_us);
      }
      break;
    case FaultKind::kFlap:
      flap(node, other, 3 + static_cast<int>(fault.detail % 8),
           20 * kMillisecondUs + static_cast<int64_t>(fault.detail % 700'000));
      break;
    case FaultKind::kStall:
      world_.stall(node.id(), other.id(), world_.now_us() + fault.duration_us);
      break;
    case FaultKind::kReset:
      world_.reset_links(node.id(), other.id());
      break;
    case FaultKind::kClockJump:
      node.jump_wall_clock(static_cast<int64_t>(fault.detail % 200'000) - 100'000);
      break;
    case FaultKind::kSyncFails:
      if (node.is_up()) {
        node.expect_death();
        pick(node, fault.detail).fail_next_sync();
      }
      revive(node, fault.duration_us + kSecondUs);
      break;
    case FaultKind::kDiskFull:
      fill_disk(node, fault.detail, fault.duration_us);
      break;
    case FaultKind::kWipe:
      struck = may_lose(node);
      if (!struck) break;
      world_.crash(node);
      if (fault.detail % 3 == 0) {
        node.wipe({&pick(node, fault.detail / 3)});  // one of two
      } else {
        node.wipe(node.disks());
      }
      revive(node, fault.duration_us);
      break;
    case FaultKind::kRot:
    case FaultKind::kBadSector:
      struck = may_lose(node) && node.snapshot_disk().exists("accepted.1");
      if (!struck) break;
      world_.crash(node);
      struck = damage_some_file(node, fault.detail, fault.kind == FaultKind::kRot);
      revive(node, fault.duration_us);
      break;
    case FaultKind::kRotEverywhere:
      struck = rot_everywhere(fault.detail);
      break;
    case FaultKind::kSuspend:
      node.suspend(8 * fault.duration_us);  // up to a minute
      break;
    case FaultKind::kLateTimers:
      node.delay_timers(static_cast<int64_t>(fault.detail % 3'000'000), 3 * fault.duration_us);
      break;
    case FaultKind::kHang:
      node.hang_disk(3 * fault.duration_us);
      break;
    case FaultKind::kLastWords:
      struck = false;
      for (SimNode* leader : all) {
        if (!leader->is_up() || leader->replica().zab().role() != consensus::Role::kLeading)
          continue;
        cut_off_with_last_words(*leader, fault);
        struck = true;
        break;
      }
      break;
    case FaultKind::kMiselection:
      if (fault.detail % 2 == 0) {
        miselect(node, fault.detail);
      } else {
        std::vector<SimNode*> three;
        for (size_t i = 0; i < 3; ++i) three.push_back(all[(fault.node + i) % all.size()]);
        duel(std::move(three));
      }
      break;
  }
  if (struck) ++struck_[fault.kind];
}

// The others elect another leader at once, and commit, while the old one still hears from followers
// that are with the others by now.
void Faults::cut_off_with_last_words(SimNode& leader, const Fault& fault) {
  size_t crashes = world_.options().voters / 2;
  std::vector<SimNode*> crashed, all;
  for (size_t i = 0; i < world_.nodes().size(); ++i) {
    SimNode& other = *world_.nodes()[(i + fault.other) % world_.nodes().size()];
    if (&other == &leader) continue;
    all.push_back(&other);
    if (crashed.size() < crashes && other.is_up() && other.is_voter()) crashed.push_back(&other);
  }
  int64_t until_us = world_.now_us() + kWordsUs + fault.duration_us;
  for (SimNode* node : crashed) world_.make_late(node->id(), until_us);
  world_.after(kWordsUs, [this, &leader, crashed, all, duration_us = fault.duration_us] {
    for (SimNode* other : all) {
      if (std::find(crashed.begin(), crashed.end(), other) == crashed.end()) {
        world_.reset_links(leader.id(), other->id());
      } else {
        world_.crash(*other);
        revive(*other, 5 * kMillisecondUs);
      }
    }
    cut_between({&leader}, all, true, duration_us);
  });
  // Who asks the old leader then must not be told what it has.
  for (int64_t at_us = world_.now_us() + kWordsUs; at_us < until_us; at_us += kBarrierGapUs) {
    world_.after(at_us - world_.now_us(), [this, &leader] { ask_barrier(leader); });
  }
}

void Faults::ask_barrier(SimNode& node) {
  node.on_strand([this, &node] {
    tree::Zxid known = world_.invariants().known();
    node.replica().sync(
        tree::SessionId{}, [&node, known, life = node.life()](const tree::Outcome& outcome) {
          if (node.life() != life || outcome.error != tree::Error::kOk) return;
          tree::Zxid now = node.replica().tree().last_zxid();
          if (now >= known) return;
          throw Violation(fmt::format("node {} answered a barrier at 0x{:x}, and 0x{:x} was known",
                                      node.id().value, now.value, known.value));
        });
  });
}

// Three nodes that have lost their roles: one follows another, promises the third the same epoch
// that the other has chosen meanwhile, and comes back.
void Faults::duel(std::vector<SimNode*> three) {
  auto end_of_log = [](SimNode* node) {
    const consensus::ZabState& state = node->replica().zab().state();
    return std::pair(state.current_epoch, state.durable);
  };
  for (SimNode* node : three) {
    if (!node->is_up() || !node->replica().zab().has_vote()) return;
  }
  // Whoever follows must not know more than those that it follows.
  std::sort(three.begin(), three.end(),
            [end_of_log](SimNode* a, SimNode* b) { return end_of_log(a) < end_of_log(b); });
  if (three[0] == three[1] || three[1] == three[2]) return;
  SimNode &follower = *three[0], &slow = *three[1], &quick = *three[2];
  std::vector<SimNode*> all;
  for (auto& node : world_.nodes()) all.push_back(node.get());
  for (SimNode* node : three) {
    for (SimNode* other : all) {
      if (other != node) world_.reset_links(node->id(), other->id());
    }
  }
  cut_between(three, all, true, kRolesEndUs);
  cut_between({&slow}, {&quick}, true, kRolesEndUs + kSecondUs);
  auto at = [this](int64_t ms, std::function<void()> event) {
    world_.after(kRolesEndUs + ms * kMillisecondUs + 1, std::move(event));
  };
  auto forge = [this, at, &follower](SimNode& leader, int64_t from_ms, int64_t to_ms) {
    for (int64_t at_ms = from_ms; at_ms < to_ms; at_ms += 5) {
      at(at_ms, [this, &follower, &leader] {
        ++forged_round_;
        forge_votes(leader, leader);
        forge_votes(follower, leader);
      });
    }
  };
  at(0, [&slow] { slow.hang_disk(80 * kMillisecondUs); });
  forge(slow, 0, 35);
  at(40, [this, &follower] {
    world_.crash(follower);
    revive(follower, kMillisecondUs);
  });
  forge(quick, 45, 85);
  at(110, [this, &follower, &quick] { world_.reset_links(follower.id(), quick.id()); });
  forge(slow, 115, 200);
}

// No election is right about who knows most: discovery has to find out.
void Faults::miselect(SimNode& chosen, uint64_t detail) {
  auto& nodes = world_.nodes();
  for (size_t i = 0; i < nodes.size(); ++i) {
    if ((detail >> i & 1) == 0) continue;
    for (auto& other : nodes) {
      if (other != nodes[i]) world_.reset_links(nodes[i]->id(), other->id());
    }
  }
  forge_elections(chosen, detail >> 16, 4);
}

void Faults::forge_elections(SimNode& chosen, uint64_t believers, int times) {
  if (times == 0) return;
  world_.after(3 * kMillisecondUs + world_.random_us(60 * kMillisecondUs),
               [this, &chosen, believers, times] {
                 ++forged_round_;
                 for (size_t i = 0; i < world_.nodes().size(); ++i) {
                   SimNode& to = *world_.nodes()[i];
                   bool believes = &to == &chosen || (believers >> i & 3) != 0;
                   if (believes) forge_votes(to, chosen);
                 }
                 forge_elections(chosen, believers, times - 1);
               });
}

void Faults::forge_votes(SimNode& to, SimNode& chosen) {
  auto looks = [](SimNode& node) {
    return node.is_up() && !node.is_paused() && node.replica().zab().has_vote() &&
           node.replica().zab().role() == consensus::Role::kLooking;
  };
  bool leads = chosen.is_up() && chosen.replica().zab().role() == consensus::Role::kLeading;
  if (!looks(to) || !(leads || looks(chosen))) return;
  for (auto& node : world_.nodes()) node->forget_votes();
  const consensus::ZabState& state = chosen.replica().zab().state();
  consensus::Notification notification;
  notification.vote = consensus::Vote{chosen.id(), state.durable, state.current_epoch};
  notification.round = forged_round_;
  for (auto& from : world_.nodes()) {
    if (from->id() == to.id()) continue;
    using consensus::PeerState;
    notification.state = &to == &chosen              ? PeerState::kLooking
                         : from->id() == chosen.id() ? PeerState::kLeading
                                                     : PeerState::kFollowing;
    to.on_strand([&] { to.replica().on_vote(from->id(), notification); });
  }
}

void Faults::cut_between(const std::vector<SimNode*>& left, const std::vector<SimNode*>& right,
                         bool both_ways, int64_t duration_us) {
  std::vector<std::pair<ServerId, ServerId>> cuts;
  for (SimNode* a : left) {
    for (SimNode* b : right) {
      if (a == b) continue;
      cuts.emplace_back(a->id(), b->id());
      if (both_ways) cuts.emplace_back(b->id(), a->id());
    }
  }
  for (auto [from, to] : cuts) world_.cut(from, to);
  world_.after(duration_us, [this, cuts] {
    for (auto [from, to] : cuts) world_.heal(from, to);
  });
}

void Faults::flap(SimNode& a, SimNode& b, int times, int64_t period_us) {
  if (times == 0 || &a == &b) return;
  cut_between({&a}, {&b}, times % 2 == 0, period_us / 2);
  world_.after(period_us, [this, &a, &b, times, period_us] { flap(a, b, times - 1, period_us); });
}

void Faults::fill_disk(SimNode& node, uint64_t detail, int64_t duration_us) {
  SimDisk& disk = pick(node, detail);
  if (detail / 2 % 3 == 0) {
    disk.set_scarce(true);
  } else {
    disk.set_capacity(disk.used_bytes() + 1'000);
  }
  world_.after(duration_us, [this, &node, &disk] {
    disk.set_capacity(0);
    disk.set_scarce(false);
    if (!node.is_up()) world_.restart(node);
  });
}

// What is durable and read again: the log up to its last witness, snapshots, epochs.
bool Faults::damage_some_file(SimNode& node, uint64_t detail, bool readable) {
  SimDisk& disk = pick(node, detail >> 8);
  std::vector<std::string> names = disk.list();
  std::erase_if(names, [](const std::string& name) {
    return name == "spare" || name.starts_with("damaged.") || name.find("tmp") != std::string::npos;
  });
  if (names.empty()) return false;
  const std::string& name = names[detail % names.size()];
  std::unique_ptr<consensus::File> file;
  if (!disk.open(name, false, file).ok() || file->size() == 0) return false;
  uint64_t end = file->size();
  if (name.starts_with("log.")) {
    // Up to the last record that a later one witnesses; what is behind it may be a torn write.
    consensus::LogHandlers handlers;
    uint64_t number = std::stoull(name.substr(4), nullptr, 16);
    end = 0;
    handlers.record = [&](const consensus::FoundRecord& found, bool) {
      if (found.segment == number) end = std::max<uint64_t>(end, found.header.synced);
      return consensus::Taken::kYes;
    };
    consensus::LogReport report = read_log(disk, handlers);
    bool is_last = !report.segments.empty() && report.segments.back().number == number;
    if (!is_last && end != 0) end = file->size();
    if (end == 0) return false;
  }
  uint64_t offset = (detail >> 16) % end;
  if (!name.starts_with(consensus::kHistoryPrefix)) node.expect_damage();
  world_.trace(fmt::format("{} of node {} is damaged at {}", name, node.id().value, offset));
  if (readable) {
    disk.rot(name, offset);
  } else {
    disk.break_sector(name, offset);
  }
  return true;
}

// A power failure after which every node misses a few txns, and every txn is somewhere.
bool Faults::rot_everywhere(uint64_t detail) {
  auto& nodes = world_.nodes();
  if (world_.options().voters < 2 || world_.options().reconfigures) return false;
  for (auto& node : nodes) {
    if (node->is_voter() ? !node->is_whole() : node->is_impaired()) return false;
  }
  for (auto& node : nodes) {
    world_.crash(*node);
    revive(*node, 10 * kMillisecondUs + world_.random_us(kSecondUs));
  }
  using Places = std::map<tree::Zxid, consensus::FoundRecord>;
  std::vector<Places> logs;
  for (auto& node : nodes) {
    Places places;
    consensus::LogHandlers handlers;
    std::vector<consensus::FoundRecord> records;
    handlers.record = [&](const consensus::FoundRecord& found, bool damaged) {
      if (!damaged) records.push_back(found);
      return consensus::Taken::kYes;
    };
    consensus::LogReport report = read_log(node->disk(), handlers);
    // Damage and a snapshot of the leader's that was under way are too much for a log.
    bool is_open = false;
    for (const consensus::FoundRecord& any : records) {
      using consensus::log_format::RecordType;
      if (any.header.type == RecordType::kBeginSync) is_open = true;
      if (any.header.type == RecordType::kEndSync) is_open = false;
      if (any.header.type == RecordType::kRollBack) is_open = false;
    }
    if (is_open) return false;
    if (!report.damage.empty()) return false;
    for (size_t i = 1; i + 1 < records.size(); ++i) {
      using log_type = consensus::log_format::RecordType;
      const auto& [before, at, behind] = std::tie(records[i - 1], records[i], records[i + 1]);
      bool inside = before.header.type == log_type::kTxn && at.header.type == log_type::kTxn &&
                    behind.header.type == log_type::kTxn && before.segment == at.segment &&
                    at.segment == behind.segment &&
                    before.header.zxid.epoch() == behind.header.zxid.epoch() &&
                    behind.header.synced > at.offset + 48;
      if (inside) places[at.header.zxid] = at;
    }
    logs.push_back(std::move(places));
  }
  bool any = false;
  for (const auto& [zxid, place] : logs[0]) {
    bool everywhere = std::all_of(logs.begin(), logs.end(), [lost = zxid](const Places& places) {
      return places.contains(lost);
    });
    if (!everywhere || (zxid.counter() + detail) % 5 != 0) continue;
    size_t victim = (zxid.counter() / 5) % nodes.size();
    const consensus::FoundRecord& record = logs[victim].at(zxid);
    nodes[victim]->disk().rot(consensus::log_segment_name(record.segment),
                              record.offset + detail % 48);
    nodes[victim]->expect_damage();
    any = true;
  }
  return any;
}

}  // namespace zabfs::sim
