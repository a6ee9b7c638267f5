#include "consensus/ensemble.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <vector>

namespace zabfs::consensus {

namespace {

// A whole number that is not negative.
std::optional<int64_t> parse_number(std::string_view text, int64_t limit) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || number < 0 || number > limit) return std::nullopt;
  return number;
}

// N of "group.N".
std::optional<int64_t> number_behind(std::string_view prefix, std::string_view key) {
  if (!key.starts_with(prefix)) return std::nullopt;
  return parse_number(key.substr(prefix.size()), kWithoutVote - 1);
}

std::string key_of(std::string_view kind, int64_t number) {
  return std::string(kind) + std::to_string(number);
}

constexpr std::string_view kGroup = "group.", kWeight = "weight.", kServer = "server.";

}  // namespace

// ---- groups and weights

// As Java, which takes every key that begins so.
bool Hierarchy::is_key(std::string_view key) {
  return key.starts_with("group") || key.starts_with("weight");
}

Status Hierarchy::take(std::string_view key, std::string_view value) {
  if (std::optional<int64_t> id = number_behind(kWeight, key)) {
    std::optional<int64_t> weight = parse_number(value, kMaxWeight);
    if (!weight) {
      return Status::failed("the weight is not a number from 0 to " + std::to_string(kMaxWeight));
    }
    if (!weights_.emplace(ServerId{*id}, *weight).second) {
      return Status::failed("this weight is given twice");
    }
    return {};
  }
  std::optional<int64_t> group = number_behind(kGroup, key);
  if (!group) return Status::failed("expected group.N or weight.N");
  for (const auto& [id, other] : groups_) {
    if (other == *group) return Status::failed("this group is listed twice");
  }
  while (true) {
    size_t end = value.find(':');
    std::optional<int64_t> id = parse_number(value.substr(0, end), kWithoutVote - 1);
    if (!id) return Status::failed("expected the numbers of its servers with ':' between them");
    if (!groups_.emplace(ServerId{*id}, *group).second) {
      return Status::failed("server " + std::to_string(*id) + " is in two groups, or twice in one");
    }
    if (end == std::string_view::npos) return {};
    value.remove_prefix(end + 1);
  }
}

std::optional<EnsembleError> Hierarchy::complete(const std::map<ServerId, Member>& members) {
  if (is_empty()) return std::nullopt;
  for (const auto& [id, member] : members) {
    if (member.observer) continue;
    if (!groups_.contains(id)) {
      return EnsembleError{key_of(kServer, id.value),
                           "this voter is in no group, and others are in groups"};
    }
    weights_.try_emplace(id, 1);
  }
  for (const auto& [id, group] : groups_) {
    std::string server = "server " + std::to_string(id.value);
    if (!members.contains(id)) {
      return EnsembleError{key_of(kGroup, group), server + " is not listed as a server"};
    }
    if (!weights_.contains(id)) {
      return EnsembleError{key_of(kGroup, group),
                           server + " is an observer; take it out of the group"};
    }
  }
  // As for Java, the weight of a server that is not listed is no error.
  std::erase_if(weights_, [&](const auto& weight) { return !members.contains(weight.first); });
  return std::nullopt;
}

int64_t Hierarchy::weight(ServerId id) const {
  auto found = weights_.find(id);
  return found == weights_.end() ? 1 : found->second;
}

std::string Hierarchy::text() const {
  std::map<int64_t, std::string> groups;
  for (auto [id, group] : groups_) {
    std::string& servers = groups[group];
    servers += (servers.empty() ? "" : ":") + std::to_string(id.value);
  }
  std::string text;
  for (const auto& [group, servers] : groups) text += key_of(kGroup, group) + "=" + servers + "\n";
  for (auto [id, weight] : weights_) {
    text += key_of(kWeight, id.value) + "=" + std::to_string(weight) + "\n";
  }
  return text;
}

// ---- quorums

Ensemble::Ensemble(std::map<ServerId, Member> members, int64_t version, Hierarchy hierarchy)
    : members_(std::move(members)), hierarchy_(std::move(hierarchy)), version_(version) {
  std::map<int64_t, size_t> indices;  // of groups
  auto index_of = [&](ServerId id) {
    auto group = hierarchy_.groups().find(id);
    int64_t number = group == hierarchy_.groups().end() ? 0 : group->second;
    size_t index = indices.try_emplace(number, indices.size()).first->second;
    if (index == group_weights_.size()) group_weights_.push_back(0);
    return index;
  };
  for (const auto& [id, member] : members_) {
    if (!member.observer) votes_[id] = Vote{index_of(id), hierarchy_.weight(id)};
  }
  if (hierarchy_.is_empty()) {
    for (const auto& [id, vote] : votes_) group_weights_[vote.group] += vote.weight;
  }
  // As Java: what weighs in a group is every server there, an observer too if it was given a
  // weight.
  for (const auto& [id, group] : hierarchy_.groups()) {
    group_weights_[index_of(id)] += hierarchy_.weight(id);
  }
  auto has_weight = [](int64_t weight) { return weight > 0; };
  counted_groups_ =
      static_cast<size_t>(std::count_if(group_weights_.begin(), group_weights_.end(), has_weight));
}

const Member* Ensemble::find(ServerId id) const {
  auto found = members_.find(id);
  return found == members_.end() ? nullptr : &found->second;
}

bool Ensemble::is_voter(ServerId id) const { return votes_.contains(id); }

int64_t Ensemble::weight(ServerId id) const {
  auto found = votes_.find(id);
  return found == votes_.end() ? 0 : found->second.weight;
}

class Ensemble::Tally {
 public:
  explicit Tally(const Ensemble& ensemble)
      : ensemble_(ensemble), gathered_(ensemble.group_weights_.size()) {}

  // Nobody twice. True: those added so far are a quorum.
  bool add(ServerId id) {
    auto found = ensemble_.votes_.find(id);
    if (found == ensemble_.votes_.end()) return is_quorum();
    const Vote& vote = found->second;
    int64_t all = ensemble_.group_weights_[vote.group];
    int64_t& weight = gathered_[vote.group];
    bool was_won = 2 * weight > all;
    weight += vote.weight;
    if (!was_won && 2 * weight > all) ++won_;
    return is_quorum();
  }

 private:
  bool is_quorum() const { return 2 * won_ > ensemble_.counted_groups_; }

  const Ensemble& ensemble_;
  std::vector<int64_t> gathered_;
  size_t won_ = 0;
};

bool Ensemble::can_have_quorum() const {
  Tally tally(*this);
  return std::any_of(votes_.begin(), votes_.end(),
                     [&](const auto& vote) { return tally.add(vote.first); });
}

bool Ensemble::is_quorum(const std::set<ServerId>& ids) const {
  Tally tally(*this);
  return std::any_of(ids.begin(), ids.end(), [&](ServerId id) { return tally.add(id); });
}

// In each group, the fewest whose loss takes its majority away are its heaviest; and the fewest
// that take the quorum away are those of the groups that lose theirs first.
std::optional<size_t> Ensemble::may_lose(const std::set<ServerId>& ids) const {
  if (!is_quorum(ids)) return std::nullopt;
  std::vector<std::vector<int64_t>> weights(group_weights_.size());
  for (ServerId id : ids) {
    auto vote = votes_.find(id);
    if (vote != votes_.end()) weights[vote->second.group].push_back(vote->second.weight);
  }
  std::vector<size_t> costs;  // of each group that is won
  for (size_t group = 0; group < weights.size(); ++group) {
    std::sort(weights[group].rbegin(), weights[group].rend());
    int64_t gathered = std::accumulate(weights[group].begin(), weights[group].end(), int64_t{0});
    if (2 * gathered <= group_weights_[group]) continue;
    size_t cost = 0;
    while (2 * gathered > group_weights_[group]) gathered -= weights[group][cost++];
    costs.push_back(cost);
  }
  std::sort(costs.begin(), costs.end());
  size_t surplus = costs.size() - counted_groups_ / 2;  // so many groups must be lost
  return std::accumulate(costs.begin(), costs.begin() + static_cast<ptrdiff_t>(surplus),
                         size_t{0}) -
         1;
}

Zxid Ensemble::quorum_zxid(const std::map<ServerId, Zxid>& reached) const {
  std::vector<std::pair<Zxid, ServerId>> longest;
  for (auto [id, zxid] : reached) longest.emplace_back(zxid, id);
  std::sort(longest.begin(), longest.end(), std::greater<>());
  Tally tally(*this);
  for (auto [zxid, id] : longest) {
    if (tally.add(id)) return zxid;
  }
  return Zxid{};
}

namespace {

// host:quorumPort:electionPort
std::string address_text(const Member& member) {
  bool ipv6 = member.host.find(':') != std::string::npos;
  return (ipv6 ? "[" + member.host + "]" : member.host) + ":" + std::to_string(member.quorum_port) +
         ":" + std::to_string(member.election_port);
}

}  // namespace

std::string Ensemble::text() const {
  std::string text;
  for (const auto& [id, member] : members_) {
    text += "server." + std::to_string(id.value) + "=" + address_text(member);
    text += member.other_addresses;
    text += member.observer ? ":observer" : ":participant";
    if (!member.client_address.empty()) text += ";" + member.client_address;
    text += "\n";
  }
  text += hierarchy_.text();
  char digits[17];
  auto [end, error] = std::to_chars(digits, digits + sizeof(digits), version_, 16);
  return text + "version=" + std::string(digits, end);
}

std::string Ensemble::voter_names() const {
  std::string names;
  for (const auto& [id, member] : members_) {
    if (!member.observer) names += (names.empty() ? "" : " ") + std::to_string(id.value);
  }
  return names;
}

void Ensemble::fill_in(const std::map<ServerId, Member>& known) {
  for (auto& [id, member] : members_) {
    auto before = known.find(id);
    if (is_wildcard(member.host) && before != known.end()) member.host = before->second.host;
  }
}

namespace {

bool may_be_in_host(char c) {
  bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return alphanumeric || std::string_view(".-_:%").find(c) != std::string_view::npos;
}

bool parse_port(std::string_view text, uint16_t& port) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port != 0;
}

// In upper or lower case; `word` is in lower case.
bool is_word(std::string_view text, std::string_view word) {
  return std::equal(text.begin(), text.end(), word.begin(), word.end(), [](char a, char b) {
    return a == b || (a >= 'A' && a <= 'Z' && a - 'A' + 'a' == b);
  });
}

// host:quorumPort:electionPort[:role]. Takes the role as the one of the server.
std::variant<Member, MemberError> parse_address(std::string_view text,
                                                std::optional<bool>& is_observer) {
  Member member;
  if (text.starts_with('[')) {
    size_t close = text.find(']');
    if (close == std::string_view::npos) return MemberError{"'[' without ']'"};
    if (close + 1 < text.size() && text[close + 1] != ':') {
      return MemberError{"':' is missing behind ']'"};
    }
    member.host = text.substr(1, close - 1);
    text = text.substr(close + 1);
  } else {
    member.host = text.substr(0, text.find(':'));
    text = text.substr(member.host.size());
  }
  if (member.host.empty()) return MemberError{"the host is missing"};
  if (!std::all_of(member.host.begin(), member.host.end(), may_be_in_host)) {
    return MemberError{"the host has characters that no host name or address has"};
  }
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    text.remove_prefix(1);  // the colon
    parts.push_back(text.substr(0, text.find(':')));
    text = text.substr(parts.back().size());
  }
  if (parts.size() < 2 || parts.size() > 3) {
    return MemberError{"expected host:quorumPort:electionPort[:participant|observer]"};
  }
  if (!parse_port(parts[0], member.quorum_port))
    return MemberError{"the quorum port is not a port"};
  if (!parse_port(parts[1], member.election_port)) {
    return MemberError{"the election port is not a port"};
  }
  if (member.quorum_port == member.election_port) {
    return MemberError{"the quorum and the election port are the same"};
  }
  if (parts.size() == 3) {
    if (!is_word(parts[2], "participant") && !is_word(parts[2], "observer")) {
      return MemberError{"the role is neither participant nor observer"};
    }
    bool observer = is_word(parts[2], "observer");
    if (is_observer.value_or(observer) != observer) {
      return MemberError{"its addresses have different roles"};
    }
    is_observer = observer;
  }
  return member;
}

}  // namespace

std::variant<Member, MemberError> parse_member(std::string_view text) {
  std::string client_address;
  size_t semicolon = text.find(';');
  if (semicolon != std::string_view::npos) {
    std::string_view client = text.substr(semicolon + 1);
    text = text.substr(0, semicolon);
    size_t colon = client.rfind(':');
    uint16_t port = 0;
    if (!parse_port(colon == std::string_view::npos ? client : client.substr(colon + 1), port)) {
      return MemberError{"the client port after ';' is not a port number"};
    }
    client_address =
        colon == std::string_view::npos ? "0.0.0.0:" + std::string(client) : std::string(client);
  }
  size_t end = text.find('|');
  std::optional<bool> is_observer;  // as any of the addresses says; Java writes it behind the last
  auto first = parse_address(text.substr(0, end), is_observer);
  std::string others;
  while (end != std::string_view::npos && std::holds_alternative<Member>(first)) {
    text.remove_prefix(end + 1);
    end = text.find('|');
    auto other = parse_address(text.substr(0, end), is_observer);
    if (std::holds_alternative<MemberError>(other)) return other;
    others += "|" + address_text(std::get<Member>(other));
  }
  if (auto* member = std::get_if<Member>(&first)) {
    member->observer = is_observer.value_or(false);
    member->client_address = std::move(client_address);
    member->other_addresses = std::move(others);
  }
  return first;
}

bool is_wildcard(const std::string& host) {
  in_addr v4 = {};
  if (::inet_aton(host.c_str(), &v4) != 0) return v4.s_addr == INADDR_ANY;
  in6_addr v6 = {};
  if (::inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_V4MAPPED(&v6)) std::memcpy(&v4, v6.s6_addr + 12, sizeof v4);
  return IN6_IS_ADDR_UNSPECIFIED(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v4.s_addr == INADDR_ANY);
}

int64_t version_in(std::string_view text) {
  constexpr std::string_view kKey = "version=";
  size_t key = text.rfind(kKey);
  int64_t version = 0;
  if (key == std::string_view::npos) return 0;
  std::string_view digits = text.substr(key + kKey.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), version, 16);
  return version;
}

std::optional<ServerId> parse_server_key(std::string_view key) {
  std::optional<int64_t> id = number_behind(kServer, key);
  if (!id) return std::nullopt;
  return ServerId{*id};
}

std::optional<ServerId> parse_weight_key(std::string_view key) {
  std::optional<int64_t> id = number_behind(kWeight, key);
  if (!id) return std::nullopt;
  return ServerId{*id};
}

std::string host_to_listen_on(const std::string& host) {
  bool has_brackets = host.starts_with('[') && host.ends_with(']');
  std::string bare = has_brackets ? host.substr(1, host.size() - 2) : host;
  return is_wildcard(bare) ? "" : bare;
}

std::optional<std::pair<ServerId, ServerId>> find_shared_byte(
    const std::map<ServerId, Member>& members) {
  std::map<uint8_t, ServerId> bytes;
  for (const auto& [id, member] : members) {
    auto [other, is_first] = bytes.emplace(tree::server_byte(id), id);
    if (!is_first) return std::pair(other->second, id);
  }
  return std::nullopt;
}

std::variant<Ensemble, EnsembleError> read_ensemble(std::string_view text) {
  std::map<ServerId, Member> members;
  Hierarchy hierarchy;
  int64_t version = version_in(text);
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line.starts_with("version=")) continue;
    size_t equals = line.find('=');
    EnsembleError error{std::string(line.substr(0, equals)), "this is not known here"};
    if (equals == std::string_view::npos) return error;
    std::string_view key = line.substr(0, equals), value = line.substr(equals + 1);
    if (Hierarchy::is_key(key)) {
      Status status = hierarchy.take(key, value);
      if (!status.ok()) return EnsembleError{std::string(key), status.why()};
      continue;
    }
    std::optional<ServerId> id = parse_server_key(key);
    if (!id) return error;
    auto member = parse_member(value);
    if (const auto* wrong = std::get_if<MemberError>(&member)) {
      return EnsembleError{std::string(key), wrong->what};
    }
    members[*id] = std::get<Member>(std::move(member));
  }
  if (members.empty()) return EnsembleError{"server.N", "no server is listed"};
  if (members.size() > kMaxMembers) return EnsembleError{"server.N", "there are too many servers"};
  if (std::optional<EnsembleError> wrong = hierarchy.complete(members)) return *wrong;
  return Ensemble(std::move(members), version, std::move(hierarchy));
}

std::optional<Ensemble> parse_ensemble(std::string_view text) {
  auto read = read_ensemble(text);
  if (std::holds_alternative<EnsembleError>(read)) return std::nullopt;
  return std::get<Ensemble>(std::move(read));
}

}  // namespace zabfs::consensus
