// The replica's half that deals in what a disk did to it: what it starts with, and again once a
// damaged log was mended (recovery.h), what other members ask for whose logs are damaged, a full
// disk, and what is amiss.
#include <fmt/format.h>

#include <utility>

#include "consensus/replica.h"

namespace zabfs::consensus {

Recovery::Options Replica::recovery_options() const {
  return {config_.zab.me, config_.zab.ensemble, is_alone(), config_.initialize, chunk_bytes()};
}

Recovery::Outcomes Replica::recovery_outcomes() {
  return {[this] {
            Recovery::Peers peers;
            for (const auto& [id, member] : zab_->membership().addresses()) {
              if (id != config_.zab.me) peers.others.insert(id);
            }
            peers.me = {config_.zab.me, zab_->membership().in_force().version(), true,
                        zab_->state().settled_ensemble()};
            return peers;
          },
          [this] { return new_link_id(); },
          [this](ServerId member, LinkId link) { transport_.dial(member, link); },
          [this](LinkId link, const Packet& packet) { send_packet(link, packet); },
          [this](LinkId link, const std::string& reason) {
            forget_link(link);
            transport_.close(link, reason);
          },
          [this] { recover_again(); }};
}

Status Replica::recover() {
  StatusOr<Recovery::Recovered> recovered = recovery_.recover(config_.intervention);
  if (!recovered.ok()) return recovered.status();
  auto& [tree, is_committed, lacks_snapshot, txns, state] = *recovered;
  for (ReplicaListener* listener : listeners_) listener->before_replace();
  Zxid base = tree->last_zxid();
  tree_.drop_staged();
  if (is_committed) {
    tree_.show(std::move(tree));
  } else {
    tree_.show(std::make_shared<tree::Tree>());
    tree_.stage(std::move(tree));
  }
  recent_.restart(base, std::move(txns));
  snapshotter_.recovered(base);
  if (lacks_snapshot) snapshotter_.want();
  zab_.emplace(config_.zab, std::move(state));
  know_members();
  if (std::string text = difference(zab_->waiting(environment_.now_ms())); !text.empty()) {
    environment_.log(LogLevel::kWarning, fmt::format("{}: {}", describe(), text));
  }
  take_configuration();
  for (ReplicaListener* listener : listeners_) listener->tree_replaced();  // recovered again
  apply_committed();
  return {};
}

void Replica::know_members() {
  std::map<ServerId, Member> members = zab_->membership().addresses();
  transport_.set_members(members);
  std::set<ServerId> others;
  for (const auto& [id, member] : members) {
    if (id != config_.zab.me) others.insert(id);
  }
  contacts_.keep(others);
}

void Replica::recover_again() {
  Status status = recover();
  if (!status.ok()) return environment_.die(status.why());
  begin();  // or mends once more: the disk did it again
}

// The data of /zookeeper/config is the configuration until a transaction says more.
void Replica::take_configuration() {
  if (config_.is_standalone()) return;
  if (version_in(configuration_of(tree())) != 0) return;
  tree_.set_configuration(config_.zab.ensemble.text());
}

// A Java leader with reconfigEnabled gives the configuration of zoo.cfg a version without a
// transaction, in NEWLEADER. Its clients see that in /zookeeper/config.
void Replica::take_leaders_configuration() {
  const Ensemble& in_force = zab_->ensemble();
  if (version_in(configuration_of(tree())) >= in_force.version()) return;
  tree_.set_configuration(in_force.text());
}

std::vector<std::pair<Zxid, Payload>> Replica::unapplied_reconfigurations() const {
  std::vector<std::pair<Zxid, Payload>> found;
  for (auto txn = recent_.after(tree_.applied()); txn != recent_.txns().end(); ++txn) {
    if (is_reconfiguration(*txn->txn)) found.emplace_back(txn->zxid, txn->txn);
  }
  return found;
}

// An ensemble that may change is never known to be one node by how it was configured.
bool Replica::is_alone() const {
  if (config_.reconfig_enabled) return false;
  return config_.zab.ensemble.is_voter(config_.zab.me) && config_.zab.ensemble.voter_count() == 1;
}

// Whatever this node's role, its log has the txns or not.
FetchAnswers::Outcomes Replica::fetch_outcomes() {
  return {[this](const LearnerInfo& asker) {
            return may_learn(zab_->config(), zab_->membership(), asker.id) &&
                   !zab_->state().is_foreign(asker.ensemble);
          },
          [this](LinkId link) { return links_.contains(link); }, [this] { return is_serving(); },
          [this](LinkId link, const Packet& packet) { send_packet(link, packet); }};
}

// ---- a full disk

void Replica::on_disk_full(const DiskStatus& status, size_t of_snapshots) {
  if (log_.note_full(of_snapshots)) {
    environment_.log(LogLevel::kError,
                     fmt::format("{}: {}; it takes no part in writes until there is room, and "
                                 "serves reads",
                                 describe(), status.message()));
  }
  step(event::StorageStalled{"the disk is full"});
}

// ---- what is amiss

void Replica::on_double(ServerId id, std::string text) {
  std::string line = fmt::format("{}: {}", describe(), text);
  if (troubles_.doubled(id, std::move(text), environment_.now_ms())) {
    environment_.log(LogLevel::kWarning, line);
  }
}

// Who was heard of lately and has no connection by now does not count.
Waiting Replica::waiting(int64_t now_ms) const {
  Waiting waiting = zab_->waiting(now_ms);
  std::erase_if(waiting.heard, [this](ServerId id) { return contacts_.is_cut_off(id); });
  return waiting;
}

std::vector<std::string> Replica::troubles() const {
  int64_t now_ms = environment_.now_ms();
  std::vector<std::string> all = sentences(waiting(now_ms));
  if (!tree_.doubt().empty())
    all.push_back(tree_.doubt() + "; it is to take over the others' data");
  if (!zab_->join_trouble().empty()) all.push_back(zab_->join_trouble());
  if (std::string text = difference(waiting(now_ms)); !text.empty()) all.push_back(text);
  for (std::string& text : troubles_.doubles(now_ms)) all.push_back(std::move(text));
  return all;
}

void Replica::tell_troubles() {
  int64_t now_ms = environment_.now_ms();
  for (const std::string& text : troubles_.look(sentences(waiting(now_ms)), now_ms)) {
    environment_.log(LogLevel::kWarning, fmt::format("{}: {}", describe(), text));
  }
  if (is_serving()) return;
  for (const std::string& text : contacts_.look(now_ms)) {
    environment_.log(LogLevel::kWarning, fmt::format("{}: {}", describe(), text));
  }
}

}  // namespace zabfs::consensus
