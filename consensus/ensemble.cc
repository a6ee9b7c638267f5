#include "consensus/ensemble.h"

#include <algorithm>
#include <charconv>
#include <vector>

namespace zabfs::consensus {

Ensemble::Ensemble(std::map<ServerId, Member> members, int64_t version)
    : members_(std::move(members)), version_(version) {
  for (const auto& [id, member] : members_) {
    if (!member.observer) ++voter_count_;
  }
}

const Member* Ensemble::find(ServerId id) const {
  auto place = members_.find(id);
  return place == members_.end() ? nullptr : &place->second;
}

bool Ensemble::is_voter(ServerId id) const {
  const Member* member = find(id);
  return member != nullptr && !member->observer;
}

bool Ensemble::is_quorum(const std::set<ServerId>& ids) const {
  size_t voters = 0;
  for (ServerId id : ids) {
    if (is_voter(id)) ++voters;
  }
  return voters > voter_count_ / 2;
}

Zxid Ensemble::quorum_zxid(const std::map<ServerId, Zxid>& reached) const {
  std::vector<Zxid> zxids;
  for (auto [id, zxid] : reached) {
    if (is_voter(id)) zxids.push_back(zxid);
  }
  size_t majority = voter_count_ / 2 + 1;
  if (zxids.size() < majority) return Zxid{};
  std::sort(zxids.begin(), zxids.end(), std::greater<>());
  return zxids[majority - 1];
}

std::string Ensemble::text() const {
  std::string text;
  for (const auto& [id, member] : members_) {
    bool ipv6 = member.host.find(':') != std::string::npos;
    text += "server." + std::to_string(id.value) + "=";
    text += ipv6 ? "[" + member.host + "]" : member.host;
    text += ":" + std::to_string(member.quorum_port) + ":" + std::to_string(member.election_port);
    text += member.observer ? ":observer" : ":participant";
    if (!member.client_address.empty()) text += ";" + member.client_address;
    text += "\n";
  }
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

namespace {

bool may_be_in_host(char c) {
  bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  return alphanumeric || std::string_view(".-_:%").find(c) != std::string_view::npos;
}

bool parse_port(std::string_view text, uint16_t& port) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port != 0;
}

}  // namespace

std::variant<Member, MemberError> parse_member(std::string_view text) {
  Member member;
  size_t semicolon = text.find(';');
  if (semicolon != std::string_view::npos) {
    std::string_view client = text.substr(semicolon + 1);
    text = text.substr(0, semicolon);
    size_t colon = client.rfind(':');
    uint16_t port = 0;
    if (!parse_port(colon == std::string_view::npos ? client : client.substr(colon + 1), port)) {
      return MemberError{"the client port after ';' is not a port number"};
    }
    member.client_address =
        colon == std::string_view::npos ? "0.0.0.0:" + std::string(client) : std::string(client);
  }
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
    if (parts[2] != "participant" && parts[2] != "observer") {
      return MemberError{"the role is neither participant nor observer"};
    }
    member.observer = parts[2] == "observer";
  }
  return member;
}

int64_t version_in(std::string_view text) {
  constexpr std::string_view kKey = "version=";
  size_t place = text.rfind(kKey);
  int64_t version = 0;
  if (place == std::string_view::npos) return 0;
  std::string_view digits = text.substr(place + kKey.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), version, 16);
  return version;
}

std::optional<ServerId> parse_server_key(std::string_view key) {
  constexpr std::string_view kPrefix = "server.";
  if (!key.starts_with(kPrefix)) return std::nullopt;
  key.remove_prefix(kPrefix.size());
  int64_t id = 0;
  auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  bool whole = error == std::errc() && end == key.data() + key.size();
  if (!whole || id < 0 || id >= kWithoutVote) return std::nullopt;
  return ServerId{id};
}

std::optional<Ensemble> parse_ensemble(std::string_view text) {
  std::map<ServerId, Member> members;
  int64_t version = version_in(text);
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (line.empty() || line.starts_with("version=")) continue;
    size_t equals = line.find('=');
    std::optional<ServerId> id = parse_server_key(line.substr(0, equals));
    if (!id || equals == std::string_view::npos) return std::nullopt;
    auto member = parse_member(line.substr(equals + 1));
    if (std::holds_alternative<MemberError>(member)) return std::nullopt;
    members[*id] = std::get<Member>(std::move(member));
  }
  if (members.empty()) return std::nullopt;
  return Ensemble(std::move(members), version);
}

}  // namespace zabfs::consensus
