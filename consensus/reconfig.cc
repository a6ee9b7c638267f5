#include "consensus/reconfig.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>
#include <vector>

#include "tree/jute.h"

namespace zabfs::consensus {

using tree::Error;

namespace {

using Members = std::map<ServerId, Member>;

std::string_view trimmed(std::string_view text) {
  constexpr const char* kSpace = " \t\r\n";
  size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

std::vector<std::string_view> parts_of(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    size_t end = text.find(separator);
    std::string_view part = trimmed(text.substr(0, end));
    if (!part.empty()) parts.push_back(part);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return parts;
}

bool share_an_address(const Member& a, const Member& b) {
  if (a.host != b.host) return false;
  bool quorum = a.quorum_port == b.quorum_port || a.quorum_port == b.election_port;
  bool election = a.election_port == b.election_port || a.election_port == b.quorum_port;
  return quorum || election;
}

bool add(std::string_view line, bool needs_client_port, Members& members) {
  size_t equals = line.find('=');
  if (equals == std::string_view::npos) return false;
  std::optional<ServerId> id = parse_server_key(trimmed(line.substr(0, equals)));
  auto parsed = parse_member(trimmed(line.substr(equals + 1)));
  if (!id || std::holds_alternative<MemberError>(parsed)) return false;
  Member member = std::get<Member>(std::move(parsed));
  if (needs_client_port && member.client_address.empty()) return false;
  bool taken = std::any_of(members.begin(), members.end(), [&](const auto& entry) {
    return entry.first != *id && share_an_address(entry.second, member);
  });
  if (taken) return false;
  members[*id] = std::move(member);
  return true;
}

bool remove(std::string_view text, Members& members) {
  int64_t id = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  members.erase(ServerId{id});
  return true;
}

std::optional<Ensemble> replaced(std::string text, Zxid version) {
  std::replace(text.begin(), text.end(), ',', '\n');
  Members members;
  Hierarchy hierarchy;
  for (std::string_view line : parts_of(text, '\n')) {
    if (line.starts_with("version=")) continue;
    if (Hierarchy::is_key(line)) {
      size_t equals = std::min(line.find('='), line.size() - 1);
      std::string_view value = trimmed(line.substr(equals + 1));
      if (!hierarchy.take(trimmed(line.substr(0, equals)), value).ok()) return std::nullopt;
    } else if (!add(line, false, members)) {
      return std::nullopt;
    }
  }
  if (hierarchy.complete(members)) return std::nullopt;
  return Ensemble(std::move(members), version.value, std::move(hierarchy));
}

// Where there are groups, somebody has to say in which a server is: only as a whole, then (Java).
std::optional<Ensemble> changed(const Ensemble& now, std::string_view joining,
                                std::string_view leaving, Zxid version) {
  if (!now.hierarchy().is_empty()) return std::nullopt;
  Members members = now.members();
  for (std::string_view id : parts_of(leaving, ',')) {
    if (!remove(id, members)) return std::nullopt;
  }
  for (std::string_view line : parts_of(joining, ',')) {
    if (!add(line, true, members)) return std::nullopt;
  }
  return Ensemble(std::move(members), version.value);
}

}  // namespace

tree::Result<std::string> plan_reconfig(const Membership& membership, const ReconfigLimits& limits,
                                        const std::set<ServerId>& synced, std::string_view body,
                                        Zxid version) {
  tree::jute::Reader in(body);
  std::optional<std::string_view> joining = in.buffer();
  std::optional<std::string_view> leaving = in.buffer();
  std::optional<std::string_view> new_members = in.buffer();
  int64_t expected_version = in.i64();
  if (!in.ok()) return Error::kMarshallingError;
  if (limits.standalone) return Error::kUnimplemented;
  if (membership.proposed() != nullptr) return Error::kReconfigInProgress;
  const Ensemble& now = membership.in_force();
  if (expected_version != -1 && expected_version != now.version()) return Error::kBadVersion;
  std::optional<Ensemble> next =
      new_members ? replaced(std::string(*new_members), version)
                  : changed(now, joining.value_or(""), leaving.value_or(""), version);
  if (!next || next->members().size() > kMaxMembers) return Error::kBadArguments;
  if (find_shared_byte(next->members())) return Error::kBadArguments;
  // The others would dial themselves. Nobody dials an observer, and clients do commit such.
  for (const auto& [id, member] : next->members()) {
    if (is_wildcard(member.host) && !member.observer) return Error::kBadArguments;
  }
  // One that begins alone may take in observers.
  size_t min_voters = std::min(limits.min_voters, now.voter_count());
  if (next->voter_count() < min_voters) return Error::kBadArguments;
  if (!next->is_quorum(synced)) return Error::kNewConfigNoQuorum;
  return next->text();
}

std::string reconfig_body(const Ensemble& ensemble) { return reconfig_body(ensemble.text(), -1); }

std::string reconfig_body(std::string_view members, int64_t expected_version) {
  std::string body;
  tree::jute::Writer out(body);
  out.i32(-1);
  out.i32(-1);
  out.string(members);
  out.i64(expected_version);
  return body;
}

}  // namespace zabfs::consensus
