#include "consensus/membership.h"

#include <algorithm>
#include <utility>

#include "consensus/mutants.h"
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
  return !proposed_ || is_mutant(Mutant::kOldQuorumOnly) || proposed_->is_quorum(ids);
}

Zxid Membership::quorum_zxid(const std::map<ServerId, Zxid>& reached) const {
  Zxid by_old = in_force_.quorum_zxid(reached);
  if (!proposed_ || by_old < proposed_at_ || is_mutant(Mutant::kOldQuorumOnly)) return by_old;
  Zxid by_both = std::min(by_old, proposed_->quorum_zxid(reached));
  return std::max(by_both, Zxid{proposed_at_.value - 1});
}

void Membership::appended(Zxid zxid, std::string_view txn) {
  if (!is_reconfiguration(txn)) return;
  auto read = read_ensemble(configuration_in(txn));
  auto* next = std::get_if<Ensemble>(&read);
  int64_t version = next != nullptr ? next->version() : zxid.value;
  if (version <= in_force_.version()) return;
  if (proposed_) in_force_ = std::move(*proposed_);
  proposed_.reset();
  if (proposed_riddle_) riddle_ = std::move(proposed_riddle_);
  proposed_riddle_.reset();
  if (next != nullptr) {
    next->fill_in(addresses());
    proposed_ = std::move(*next);
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
  if (proposed_) in_force_ = std::move(*proposed_);
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
    in_force_ = std::move(newer);
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
  heard_of_ = std::move(*other);
  ++changes_;
  return true;
}

}  // namespace zabfs::consensus
