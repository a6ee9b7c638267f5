#include "sim/invariants.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "consensus/crc32c.h"
#include "tree/origin.h"

namespace zabfs::sim {

using consensus::Role;
using tree::OpCode;
using tree::ServerId;
using tree::Zxid;

// ---- nodes

void Invariants::check_node(ServerId id, const consensus::Replica& replica) {
  const consensus::Zab& zab = replica.zab();
  const consensus::ZabState& state = zab.state();
  if (zab.role() == Role::kLeading && zab.is_serving()) {
    leads(id, zab.epoch());
    if (!state.votes) throw Violation(fmt::format("node {} leads without a vote", id.value));
  }
  if (int64_t ensemble = state.settled_ensemble(); ensemble != 0) {
    if (ensemble_ == 0) ensemble_ = ensemble;
    if (ensemble_ != ensemble) {
      throw Violation(fmt::format("node {} is of another ensemble than others", id.value));
    }
  }
  if (zab.is_serving() && state.secret.empty()) {
    throw Violation(fmt::format("node {} serves without the ensemble's secret", id.value));
  }
  if (state.current_epoch > state.accepted_epoch && state.votes) {
    throw Violation(fmt::format("node {}: current epoch {} above accepted {}", id.value,
                                state.current_epoch, state.accepted_epoch));
  }
  if (zab.is_serving() && replica.tree().last_zxid() > state.history.last()) {
    throw Violation(fmt::format("node {}: applied 0x{:x} beyond its log 0x{:x}", id.value,
                                replica.tree().last_zxid().value, state.history.last().value));
  }
}

void Invariants::leads(ServerId id, uint32_t epoch) {
  auto [place, added] = leader_of_epoch_.try_emplace(epoch, id);
  if (added || place->second == id) return;
  throw Violation(
      fmt::format("epoch {} has two leaders, {} and {}", epoch, place->second.value, id.value));
}

void Invariants::broadcast(ServerId id, Zxid zxid, uint32_t sum) {
  auto [place, added] = broadcast_.try_emplace(zxid.value, sum);
  if (added || place->second == sum) return;
  throw Violation(fmt::format("node {} proposes another txn as 0x{:x} than was proposed", id.value,
                              zxid.value));
}

void Invariants::starts_at(ServerId id, Zxid zxid) {
  if (zxid == Zxid{}) {
    next_[id.value] = 0;
    return;
  }
  auto place = index_.find(zxid.value);
  if (place == index_.end()) {
    throw Violation(
        fmt::format("node {} starts at 0x{:x}, which nobody committed", id.value, zxid.value));
  }
  next_[id.value] = place->second + 1;
}

void Invariants::applied(ServerId id, const tree::Txn& txn) {
  const tree::TxnHeader& header = txn.header;
  size_t& next = next_[id.value];
  if (next == order_.size()) {
    if (!order_.empty() && header.zxid <= order_.back().zxid) {
      throw Violation(fmt::format("node {} applies 0x{:x} after 0x{:x}", id.value,
                                  header.zxid.value, order_.back().zxid.value));
    }
    first_applied(txn);
  } else {
    const Applied& there = order_[next];
    bool same = there.session == header.session && there.cxid == header.cxid &&
                there.type == header.type && there.time_ms == header.time_ms &&
                there.origin == consensus::crc32c(0, txn.origin);
    if (there.zxid != header.zxid || !same) {
      throw Violation(fmt::format("node {} applies 0x{:x} where others applied 0x{:x}{}", id.value,
                                  header.zxid.value, there.zxid.value,
                                  there.zxid == header.zxid ? " with other contents" : ""));
    }
  }
  ++next;
}

// What a client or a mount has asked for says who that was, at whichever server and under whichever
// leader. Txns that a leader makes first for a request have no session.
void Invariants::check_origin(const tree::Txn& txn) const {
  if (!txn.digest || txn.header.cxid <= 0) return;
  tree::Origin origin = tree::read_origin(txn.origin);
  tree::SessionId session = txn.header.session;
  auto client = addresses_.find(session);
  bool is_right = tree::is_mounts(session)
                      ? origin.uid == uid_of_mount(tree::ServerId{tree::maker_of(session)}) &&
                            origin.program == kMountProgram
                      : client == addresses_.end() || origin.address == client->second;
  if (is_right) return;
  throw Violation(fmt::format("0x{:x} of session 0x{:x} says that {} {} at '{}' made it",
                              txn.header.zxid.value, session.value, origin.uid.value_or(0),
                              origin.program, origin.address));
}

void Invariants::first_applied(const tree::Txn& txn) {
  const tree::TxnHeader& header = txn.header;
  index_[header.zxid.value] = order_.size();
  order_.push_back({header.zxid, header.session, header.cxid, header.type, header.time_ms,
                    consensus::crc32c(0, txn.origin)});
  check_origin(txn);
  const auto* multi = std::get_if<tree::MultiTxn>(&txn.body);
  bool has_effect = header.type != OpCode::kError && (multi == nullptr || !multi->failed());
  // Clients number what they do in a session from its beginning to its end, wherever they are.
  if (has_effect && header.cxid > 0 && header.session != tree::SessionId{}) {
    int32_t& last = last_cxids_[header.session];
    if (header.cxid < last) {
      throw Violation(fmt::format("session 0x{:x} cxid {} took effect at 0x{:x}, after its cxid {}",
                                  header.session.value, header.cxid, header.zxid.value, last));
    }
    last = header.cxid;
  }
  if (has_effect && header.cxid > 0 && !effects_.insert({header.session, header.cxid}).second) {
    throw Violation(
        fmt::format("session 0x{:x} cxid {} took effect twice, the second time at 0x{:x}",
                    header.session.value, header.cxid, header.zxid.value));
  }
  if (header.type != OpCode::kSetData) return;
  const auto* set = std::get_if<tree::SetDataTxn>(&txn.body);
  if (set == nullptr) return;
  auto place = versions_.find(set->path);
  if (place == versions_.end()) place = versions_.emplace(set->path, std::vector<Version>()).first;
  int32_t before = place->second.empty() ? 0 : place->second.back().version;
  if (set->version != before + 1) {
    throw Violation(fmt::format("{} goes from version {} to {} at 0x{:x}", set->path, before,
                                set->version, header.zxid.value));
  }
  place->second.push_back({header.zxid, set->version});
}

namespace {

// The digest does not have the times that snapshots carry in blocks of their own. These are of the
// directories that all clients work in.
int64_t digest_with_times(const tree::Tree& tree) {
  auto sum = static_cast<uint64_t>(tree.digest());
  tree.for_each_child(tree.root(), [&sum](const tree::ZNode& child) {
    uint64_t name = std::hash<std::string_view>()(child.name.view());
    sum += (name ^ static_cast<uint64_t>(child.times.children_ms)) * 0x9e3779b97f4a7c15;
    sum += (name ^ static_cast<uint64_t>(child.times.acl_ms)) * 0xc2b2ae3d27d4eb4f;
  });
  return static_cast<int64_t>(sum);
}

}  // namespace

void Invariants::tree_at(ServerId id, const tree::Tree& tree) {
  if (!tree.digest_agrees()) {
    throw Violation(fmt::format("node {}: its tree's digest is not the leader's at 0x{:x}",
                                id.value, tree.last_zxid().value));
  }
  int64_t digest = digest_with_times(tree);
  auto [place, added] = digests_.try_emplace(tree.last_zxid().value, digest);
  if (!added && place->second != digest) {
    throw Violation(fmt::format("node {}: another tree than others at 0x{:x}", id.value,
                                tree.last_zxid().value));
  }
}

void Invariants::check_configuration(ServerId id, const consensus::Replica& replica) {
  std::string in_force = replica.zab().ensemble().text();
  const tree::ZNode* shown = replica.tree().find(tree::kConfigPath);
  if (configuration_.empty()) configuration_ = in_force;
  bool standalone = replica.config().is_standalone();
  if (in_force != configuration_ || (!standalone && shown->data.view() != in_force)) {
    throw Violation(fmt::format("node {} has configuration\n{}\nshows\n{}\nand others have\n{}",
                                id.value, in_force, shown->data.view(), configuration_));
  }
}

void Invariants::check_ephemerals(ServerId id, const tree::Tree& tree) {
  for (const char* directory : {"/e", "/lock"}) {
    const tree::ZNode* parent = tree.find(directory);
    if (parent == nullptr) continue;
    tree.for_each_child(*parent, [&](const tree::ZNode& node) {
      if (!tree.sessions().contains(tree::SessionId{node.stat.owner})) {
        throw Violation(fmt::format("node {}: {}/{} outlived its session 0x{:x}", id.value,
                                    directory, node.name.view(), node.stat.owner));
      }
    });
  }
}

// ---- clients

void Invariants::acknowledged(tree::SessionId session, int32_t cxid, const tree::Outcome& outcome,
                              Zxid known_before) {
  auto place = index_.find(outcome.zxid.value);
  if (place == index_.end()) {
    throw Violation(fmt::format("session 0x{:x} was told of 0x{:x}, which nobody committed",
                                session.value, outcome.zxid.value));
  }
  const Applied& applied = order_[place->second];
  if (applied.session != session || applied.cxid != cxid) {
    throw Violation(fmt::format("session 0x{:x} cxid {} was answered with 0x{:x}, another's",
                                session.value, cxid, outcome.zxid.value));
  }
  acknowledged(outcome, known_before);
}

void Invariants::acknowledged(const tree::Outcome& outcome, Zxid known_before) {
  ++acknowledged_count_;
  if (outcome.zxid <= known_before) {
    throw Violation(
        fmt::format("a write took effect at 0x{:x}, before 0x{:x} was known, when it "
                    "had not begun",
                    outcome.zxid.value, known_before.value));
  }
  told(outcome.zxid);
}

int32_t Invariants::version_at(const std::string& path, Zxid zxid) const {
  auto place = versions_.find(path);
  if (place == versions_.end()) return 0;
  auto after = std::upper_bound(place->second.begin(), place->second.end(), zxid,
                                [](Zxid a, const Version& b) { return a < b.zxid; });
  return after == place->second.begin() ? 0 : std::prev(after)->version;
}

void Invariants::refused(const std::string& path, int32_t expected, const tree::Outcome& outcome) {
  if (version_at(path, outcome.zxid) != expected) return;
  throw Violation(
      fmt::format("a write of {} at version {} was refused at 0x{:x}, where that was "
                  "its version",
                  path, expected, outcome.zxid.value));
}

void Invariants::check_tokens(const tree::Tree& tree, const char* when) const {
  std::map<std::string, int> found;
  tree.for_each_child(tree.root(), [&](const tree::ZNode& node) {
    if (!node.name.view().starts_with("f")) return;
    std::string_view data = node.data.view();
    while (!data.empty()) {
      size_t end = data.find('\n');
      if (end == std::string_view::npos) {
        throw Violation(fmt::format("{}: a torn line in {}", when, node.name.view()));
      }
      ++found[std::string(data.substr(0, end))];
      data.remove_prefix(end + 1);
    }
  });
  for (const auto& [token, count] : found) {
    if (count > 1) throw Violation(fmt::format("{}: {} is there {} times", when, token, count));
    if (!attempted_.contains(token)) throw Violation(fmt::format("{}: unknown {}", when, token));
  }
  for (const std::string& token : acknowledged_) {
    if (!found.contains(token)) {
      throw Violation(fmt::format("{}: acknowledged {} is lost", when, token));
    }
  }
}

}  // namespace zabfs::sim
