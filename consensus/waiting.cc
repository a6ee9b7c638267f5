#include "consensus/waiting.h"

#include <algorithm>

namespace zabfs::consensus {

namespace {

constexpr const char* kReaddress =
    "if all servers have moved, stop all of them and start each with `zabfsd --readdress zoo.cfg`";

std::string address_of(const Member& member) {
  bool ipv6 = member.host.find(':') != std::string::npos;
  return (ipv6 ? "[" + member.host + "]" : member.host) + ":" + std::to_string(member.quorum_port) +
         ":" + std::to_string(member.election_port);
}

std::string list_of(const std::set<ServerId>& ids, const std::map<ServerId, Member>& addresses) {
  std::string text;
  for (ServerId id : ids) {
    text += (text.empty() ? "server " : ", server ") + std::to_string(id.value);
    auto member = addresses.find(id);
    if (member != addresses.end()) text += " (" + address_of(member->second) + ")";
  }
  return text;
}

std::string hex(int64_t version) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (auto rest = static_cast<uint64_t>(version); rest != 0; rest /= 16) {
    text.insert(text.begin(), kDigits[rest % 16]);
  }
  return "0x" + (text.empty() ? "0" : text);
}

void tell_riddle(const Membership::Riddle& riddle, std::vector<std::string>& out) {
  out.push_back("this node has no vote: it does not understand " + riddle.problem.key +
                " of the configuration " + hex(riddle.version) + ": " + riddle.problem.what +
                "; run a zabfs that does, or reconfigure without it");
}

// Removed, or not added yet. It follows a leader all the same, so that it can be added.
void tell_of_no_member(const Waiting& waiting, std::vector<std::string>& out) {
  const Ensemble& in_force = waiting.membership.in_force();
  if (in_force.members().empty() || in_force.find(waiting.me) != nullptr) return;
  std::string me = std::to_string(waiting.me.value);
  out.push_back("this node is no member: the configuration " + hex(in_force.version()) +
                " does not list server " + me +
                ". Stop it; or, to make it a member, run `zabfs members add " + me +
                " HOST:QUORUMPORT:ELECTIONPORT` on one of the members");
}

// A node that begins a new ensemble has seen that all others are empty, too.
void tell_of_beginning(const Waiting& waiting, std::set<ServerId> silent,
                       std::vector<std::string>& out) {
  for (ServerId id : waiting.seen_empty) silent.erase(id);
  std::map<ServerId, Member> addresses = waiting.membership.addresses();
  std::set<ServerId> full;
  for (ServerId id : waiting.heard) {
    if (id != waiting.me && !waiting.seen_empty.contains(id)) full.insert(id);
  }
  constexpr const char* kInitialize =
      "put an empty file `initialize` into the dataDir of each empty node that is to vote, and "
      "restart it";
  if (!full.empty()) {
    out.push_back("this node is empty and has no vote; " + list_of(full, addresses) +
                  " is there and not empty: this node waits until a quorum of the voters that have "
                  "data has a leader. If their data is to be lost, " +
                  kInitialize);
  } else if (!waiting.begins_by_itself) {
    out.push_back(std::string("this node is empty and has no vote, and db.autocreate is false: to "
                              "begin a new ensemble, ") +
                  kInitialize);
  } else if (!silent.empty()) {
    out.push_back("a new ensemble begins once all its voters have been seen empty; missing: " +
                  list_of(silent, addresses) + ". Start them; or, to begin without them, " +
                  kInitialize);
  }
}

void tell_of_moves(const Waiting& waiting, std::vector<std::string>& out) {
  const Ensemble& in_force = waiting.membership.in_force();
  if (in_force.version() == waiting.configured.version()) return;
  std::string moved;
  for (const auto& [id, member] : in_force.members()) {
    const Member* configured = waiting.configured.find(id);
    if (configured == nullptr || address_of(*configured) == address_of(member)) continue;
    moved += (moved.empty() ? "server " : ", server ") + std::to_string(id.value) + " at " +
             address_of(member) + ", and zoo.cfg at " + address_of(*configured);
  }
  if (moved.empty()) return;
  out.push_back("the committed configuration " + hex(in_force.version()) + " has " + moved +
                "; what is committed counts. Where a quorum is left, reconfigure; " + kReaddress);
}

}  // namespace

std::string difference(const Waiting& waiting) {
  const Ensemble& committed = waiting.membership.in_force();
  if (committed.version() == 0) return {};
  std::set<ServerId> only_committed, only_configured, other;
  for (const auto& [id, member] : committed.members()) {
    const Member* configured = waiting.configured.find(id);
    if (configured == nullptr) {
      only_committed.insert(id);
    } else if (configured->observer != member.observer ||
               (!is_wildcard(configured->host) && address_of(*configured) != address_of(member))) {
      other.insert(id);
    }
  }
  for (const auto& [id, member] : waiting.configured.members()) {
    if (committed.find(id) == nullptr) only_configured.insert(id);
  }
  std::string text;
  auto add = [&text](const std::set<ServerId>& ids, const char* what) {
    if (ids.empty()) return;
    text += (text.empty() ? "" : "; ") + list_of(ids, {}) + what;
  };
  add(only_committed, " is missing");
  add(only_configured, " is no member");
  add(other, " has another role or address");
  if (text.empty()) return {};
  return "zoo.cfg differs from the committed configuration " + hex(committed.version()) +
         ", which counts: " + text + ". A node that loses its disk has only zoo.cfg: change it";
}

std::vector<std::string> sentences(const Waiting& waiting) {
  std::vector<std::string> out;
  const Membership& membership = waiting.membership;
  if (const Membership::Riddle* riddle = membership.not_understood()) tell_riddle(*riddle, out);
  tell_of_no_member(waiting, out);
  if (waiting.serving) return out;
  std::set<ServerId> silent = membership.voters();
  for (ServerId id : waiting.heard) silent.erase(id);
  silent.erase(waiting.me);
  if (!waiting.has_vote && waiting.is_empty && membership.is_voter(waiting.me)) {
    tell_of_beginning(waiting, silent, out);
  } else if (!silent.empty()) {
    std::set<ServerId> here = waiting.heard;
    if (waiting.has_vote) here.insert(waiting.me);
    bool enough = membership.is_quorum(here);
    out.push_back("no word from " + list_of(silent, membership.addresses()) +
                  (enough ? "; the others are enough for a leader, and none was elected yet"
                          : "; without some of them there is no quorum"));
  }
  if (!waiting.other_voters.empty()) {
    out.push_back(list_of(waiting.other_voters, membership.addresses()) +
                  " has other voters, groups or weights in its configuration than this node (" +
                  membership.in_force().voter_names() + "): give all servers the same in zoo.cfg");
  }
  tell_of_moves(waiting, out);
  return out;
}

}  // namespace zabfs::consensus
