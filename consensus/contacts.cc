#include "consensus/contacts.h"

#include <utility>

namespace zabfs::consensus {

void Contacts::keep(const std::set<ServerId>& members) {
  std::erase_if(contacts_, [&](const auto& entry) { return !members.contains(entry.first); });
  for (ServerId id : members) contacts_.try_emplace(id);
}

void Contacts::heard(ServerId id, int64_t now_ms) {
  auto contact = contacts_.find(id);
  if (contact != contacts_.end()) contact->second.heard_ms = now_ms;
}

void Contacts::reached(ServerId id, Door door) {
  auto contact = contacts_.find(id);
  if (contact == contacts_.end()) return;
  (door == Door::kElection ? contact->second.election : contact->second.quorum).clear();
}

void Contacts::failed(ServerId id, Door door, std::string why) {
  auto contact = contacts_.find(id);
  if (contact == contacts_.end()) return;
  (door == Door::kElection ? contact->second.election : contact->second.quorum) = std::move(why);
}

void Contacts::forget_quorum_ports() {
  for (auto& [id, contact] : contacts_) contact.quorum.clear();
}

std::optional<int64_t> Contacts::heard_ms(ServerId id) const {
  auto contact = contacts_.find(id);
  return contact == contacts_.end() ? std::nullopt : contact->second.heard_ms;
}

bool Contacts::is_cut_off(ServerId id) const {
  auto contact = contacts_.find(id);
  return contact != contacts_.end() && !contact->second.election.empty();
}

std::string Contacts::trouble(ServerId id) const {
  auto found = contacts_.find(id);
  if (found == contacts_.end()) return {};
  const auto& [heard, election, quorum, seen, told] = found->second;
  if (election.empty()) return quorum;
  return quorum.empty() || quorum == election ? election : election + "; " + quorum;
}

std::vector<std::string> Contacts::look(int64_t now_ms) {
  std::vector<std::string> lines;
  for (auto& [id, contact] : contacts_) {
    std::string why = trouble(id);
    std::string before = std::exchange(contact.seen, why);
    if (why.empty() || why != before) continue;
    std::erase_if(contact.told,
                  [now_ms](const auto& told) { return now_ms - told.second >= kTellAgainMs; });
    if (contact.told.contains(why) || contact.told.size() >= kMaxReasons) continue;
    contact.told[why] = now_ms;
    lines.push_back("server " + std::to_string(id.value) + " can't be reached: " + why);
  }
  return lines;
}

}  // namespace zabfs::consensus
