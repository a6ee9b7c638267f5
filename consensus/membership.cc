#include "consensus/membership.h"

#include <algorithm>
#include <utility>

#include "tree/jute.h"
#include "tree/txn.h"

namespace zabfs::consensus {

namespace {

// TxnHeader: client id, cxid, zxid, time, type.
constexpr size_t kTypeOffset = 8 + 4 + 8 + 8;

std::string configuration_in(std::string_view txn) {
  std::optional<tree::Txn> decoded = tree::decode_txn(txn);
  if (!decoded) return {};
  const auto* set = std::get_if<tree::SetDataTxn>(&decoded->body);
  return std::string(set == nullptr ? std::string_view() : set->data.value_or(""));
}

}  // namespace

bool is_reconfiguration(std::string_view txn) {
  if (txn.size() < kTypeOffset + 4) return false;
  int32_t type = tree::jute::Reader(txn.substr(kTypeOffset)).i32();
  return type == static_cast<int32_t>(tree::OpCode::kReconfig);
}

std::string configuration_of(const tree::Tree& tree) {
  const tree::ZNode* node = tree.find(tree::kConfigPath);
  return node == nullptr ? std::string() : std::string(node->data.view());
}

bool Membership::is_voter(ServerId id) const {
  return in_force_.is_voter(id) || (proposed_ && proposed_->is_voter(id)) || heard_of_.is_voter(id);
}

bool Membership::is_weightless(ServerId id) const {
  bool has_weight = in_force_.weight(id) > 0 || heard_of_.weight(id) > 0 ||
                    (proposed_ && proposed_->weight(id) > 0);
  return is_voter(id) && !has_weight;
}

const Membership::Riddle* Membership::not_understood() const {
  if (proposed_riddle_) return &*proposed_riddle_;
  return riddle_ && riddle_->version > in_force_.version() ? &*riddle_ : nullptr;
}

bool Membership::is_member(ServerId id) const {
  return in_force_.find(id) != nullptr || (proposed_ && proposed_->find(id) != nullptr);
}

std::map<ServerId, Member> Membership::addresses() const {
  std::map<ServerId, Member> all;
  if (proposed_) all = proposed_->members();
  all.insert(in_force_.members().begin(), in_force_.members().end());
  all.insert(heard_of_.members().begin(), heard_of_.members().end());
  return all;
}

std::set<ServerId> Membership::voters() const {
  std::set<ServerId> ids;
  for (const auto& [id, member] : addresses()) {
    if (is_voter(id)) ids.insert(id);
  }
  return ids;
}

bool Membership::is_quorum(const std::set<ServerId>& ids) const {
  if (!in_force_.is_quorum(ids)) return false;
  return !proposed_ || proposed_->is_quorum(ids);
}

Zxid Membership::quorum_zxid(const std::map<ServerId, Zxid>& reached) const {
  Zxid by_old = in_force_.quorum_zxid(reached);
  if (!proposed_ || by_old < proposed_at_) return by_old;
  Zxid by_both = std::min(by_old, proposed_->quorum_zxid(reached));
  return std::max(by_both, Zxid{proposed_at_.value - 1});
}

Status Membership::readdress(const Ensemble& configured) {
  const Ensemble& newest = proposed_ ? *proposed_ : in_force_;
  if (newest.version() == 0) return {};  // what is configured counts anyhow
  std::string committed, wanted;
  auto roles = [](const std::map<ServerId, Member>& members) {
    std::string text;
    for (const auto& [id, member] : members) {
      text += (text.empty() ? "" : " ") + std::to_string(id.value);
      if (member.observer) text += " (observer)";
    }
    return text;
  };
  std::map<ServerId, Member> all = newest.members();
  all.insert(in_force_.members().begin(), in_force_.members().end());
  if (roles(all) != roles(configured.members())) {
    return Status::failed("zoo.cfg has the servers " + roles(configured.members()) +
                          ", and the committed configuration " + roles(all) +
                          ": only their addresses may differ");
  }
  if (configured.hierarchy().text() != newest.hierarchy().text()) {
    return Status::failed(
        "zoo.cfg has other groups or weights than the committed configuration: only addresses "
        "may differ");
  }
  moved_ = configured;
  moved_through_ = newest.version();
  come_into_force(std::move(in_force_));
  if (proposed_) proposed_ = where_it_is_now(std::move(*proposed_));
  ++changes_;
  return {};
}

Status Membership::begin_alone(ServerId me, const Ensemble& configured) {
  const Ensemble& newest = proposed_ ? *proposed_ : in_force_;
  std::map<ServerId, Member> known = addresses();
  known.insert(configured.members().begin(), configured.members().end());
  auto found = known.find(me);
  if (found == known.end()) {
    return Status::failed("neither zoo.cfg nor the committed configuration has server " +
                          std::to_string(me.value));
  }
  Member alone = found->second;
  alone.observer = false;
  moved_through_ = newest.version();
  in_force_ = Ensemble({{me, alone}}, newest.version());
  proposed_.reset();
  riddle_.reset();
  proposed_riddle_.reset();
  heard_of_ = {};
  overridden_ = true;
  ++changes_;
  return {};
}

Ensemble Membership::where_it_is_now(Ensemble known) const {
  if (known.version() > moved_through_) return known;
  std::map<ServerId, Member> members = known.members();
  for (auto& [id, member] : members) {
    const Member* moved = moved_.find(id);
    if (moved == nullptr) continue;
    member.host = moved->host;
    member.quorum_port = moved->quorum_port;
    member.election_port = moved->election_port;
    member.other_addresses = moved->other_addresses;
    if (!moved->client_address.empty()) member.client_address = moved->client_address;
  }
  return Ensemble(std::move(members), known.version(), known.hierarchy());
}

void Membership::come_into_force(Ensemble next) {
  std::string before = next.text();
  in_force_ = where_it_is_now(std::move(next));
  overridden_ =
      in_force_.text() != before || (overridden_ && in_force_.version() <= moved_through_);
}

void Membership::appended(Zxid zxid, std::string_view txn) {
  if (!is_reconfiguration(txn)) return;
  auto read = read_ensemble(configuration_in(txn));
  auto* next = std::get_if<Ensemble>(&read);
  int64_t version = next != nullptr ? next->version() : zxid.value;
  if (version <= in_force_.version()) return;
  if (proposed_) come_into_force(std::move(*proposed_));
  proposed_.reset();
  if (proposed_riddle_) riddle_ = std::move(proposed_riddle_);
  proposed_riddle_.reset();
  if (next != nullptr) {
    next->fill_in(addresses());
    proposed_ = where_it_is_now(std::move(*next));
  } else {
    proposed_riddle_ = Riddle{version, std::get<EnsembleError>(std::move(read))};
  }
  proposed_at_ = zxid;
  ++changes_;
}

void Membership::truncate(Zxid last) {
  if ((!proposed_ && !proposed_riddle_) || proposed_at_ <= last) return;
  proposed_.reset();
  proposed_riddle_.reset();
  ++changes_;
}

bool Membership::committed(Zxid through) {
  if ((!proposed_ && !proposed_riddle_) || proposed_at_ > through) return false;
  if (proposed_) come_into_force(std::move(*proposed_));
  if (proposed_riddle_) riddle_ = std::move(proposed_riddle_);
  proposed_.reset();
  proposed_riddle_.reset();
  heard_of_ = Ensemble();
  ++changes_;
  return true;
}

bool Membership::adopt(std::string_view text) {
  int64_t version = version_in(text);
  if (version <= in_force_.version()) return false;
  auto read = read_ensemble(text);
  if (auto* problem = std::get_if<EnsembleError>(&read)) {
    if (riddle_ && version <= riddle_->version) return false;
    riddle_ = Riddle{version, std::move(*problem)};
  } else {
    Ensemble newer = std::get<Ensemble>(std::move(read));
    newer.fill_in(addresses());
    come_into_force(std::move(newer));
    heard_of_ = Ensemble();
    if (proposed_ && proposed_->version() <= in_force_.version()) proposed_.reset();
    if (proposed_riddle_ && proposed_riddle_->version <= in_force_.version()) {
      proposed_riddle_.reset();
    }
  }
  ++changes_;
  return true;
}

bool Membership::hear_of(std::string_view text) {
  int64_t version = version_in(text);
  if (version <= in_force_.version() || version <= heard_of_.version()) return false;
  if (proposed_ && version <= proposed_->version()) return false;
  std::optional<Ensemble> other = parse_ensemble(text);
  if (!other) return false;
  other->fill_in(addresses());
  heard_of_ = where_it_is_now(std::move(*other));
  ++changes_;
  return true;
}

}  // namespace zabfs::consensus
