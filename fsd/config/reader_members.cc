// Of the reader: who the members are, and which of them this server is.
#include <fmt/format.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <charconv>
#include <fstream>
#include <memory>
#include <utility>
#include <variant>

#include "fsd/config/reader.h"

namespace zabfs::fsd {

using consensus::Member;
using tree::ServerId;

namespace {

bool is_loopback(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    constexpr uint32_t kLoopbackNet = 127;
    auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    return ntohl(v4->sin_addr.s_addr) >> 24 == kLoopbackNet;
  }
  return IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr);
}

}  // namespace

std::optional<std::string> name_for_others() {
  std::array<char, HOST_NAME_MAX + 1> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return std::nullopt;
  addrinfo wanted = {};
  wanted.ai_flags = AI_CANONNAME;
  wanted.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(name.data(), nullptr, &wanted, &found) != 0) return std::nullopt;
  std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner(found, ::freeaddrinfo);
  for (const addrinfo* at = found; at != nullptr; at = at->ai_next) {
    if (is_loopback(at->ai_addr)) continue;
    return std::string(found->ai_canonname != nullptr ? found->ai_canonname : name.data());
  }
  return std::nullopt;
}

bool ConfigReader::is_of_members(const std::string& key) {
  return key.starts_with("server.") || consensus::Hierarchy::is_key(key);
}

void ConfigReader::take_of_members(const Property& line) {
  lines_of_members_.emplace(line.key, line);
  if (line.key.starts_with("server.")) return take_server(line);
  Status status = hierarchy_.take(line.key, line.value);
  if (!status.ok()) fail(line, status.why());
}

void ConfigReader::take_server(const Property& line) {
  std::optional<ServerId> id = consensus::parse_server_key(line.key);
  if (!id) {
    return fail(line,
                fmt::format("the server number is not from 0 to {}", consensus::kWithoutVote - 1));
  }
  auto parsed = consensus::parse_member(line.value);
  if (auto* problem = std::get_if<consensus::MemberError>(&parsed)) {
    return fail(line, problem->what);
  }
  const Member& member = std::get<Member>(parsed);
  if (line.value.find('|') != std::string::npos) {
    warn(line,
         fmt::format("{}: of its addresses only the first, {}, is used", line.key, member.host));
  }
  if (!members_.emplace(*id, member).second) return fail(line, "this server is listed twice");
}

void ConfigReader::take_dynamic_file(const Property& line) {
  std::ifstream in(line.value);
  if (!in) return fail(line, fmt::format("can't read {}", line.value));
  if (!lines_of_members_.empty()) return fail(lines_of_members_.begin()->second, kElsewhere);
  dynamic_ = line;
  for (const Property& inner : last_of_each(parse_properties(in, line.value))) {
    if (is_of_members(inner.key)) {
      take_of_members(inner);
    } else if (inner.key != "version") {
      fail(inner, "it does not belong there");
    }
    if (!status_.ok()) return;
  }
}

void ConfigReader::peer_type(const Property& line) {
  peer_type_ = line;
  std::string& role = peer_type_->value;
  role = in_lower_case(role);
  if (role != "observer" && role != "participant") {
    fail(line, "it is neither participant nor observer");
  }
}

Status ConfigReader::finish() {
  if (Status status = check_members(); !status.ok()) return status;
  if (members_.size() <= 1) return finish_alone();
  if (Status status = read_myid(); !status.ok()) return status;
  consensus::ZabConfig& zab = replica().zab;
  zab.wants_vote = !members_[zab.me].observer;
  compare_role();
  if (Status status = tell_own_address(); !status.ok()) return status;
  zab.ensemble = consensus::Ensemble(members_, 0, hierarchy_);
  if (Status status = check_addresses(); !status.ok()) return status;
  if (Status status = take_own_client_address(); !status.ok()) return status;
  if (zab.ensemble.voter_count() == 0) {
    return Status::failed(fmt::format("{}: every server is an observer", file_));
  }
  if (!zab.ensemble.can_have_quorum()) {
    return Status::failed(fmt::format("{}: no voter has weight", file_));
  }
  return {};
}

Status ConfigReader::finish_alone() {
  consensus::ZabConfig& zab = replica().zab;
  zab.me = members_.empty() ? ServerId{1} : members_.begin()->first;
  if (members_.empty()) members_[zab.me] = Member{"localhost", 0, 0, false, ""};
  if (!replica().standalone_enabled) {
    if (Status status = tell_own_address(); !status.ok()) return status;
  }
  zab.ensemble = consensus::Ensemble(members_, 0, hierarchy_);
  if (Status status = check_addresses(); !status.ok()) return status;
  return take_own_client_address();
}

Status ConfigReader::read_myid() {
  std::string path = config_.host.data_dir + "/myid";
  std::ifstream in(path);
  std::string text;
  if (!std::getline(in, text)) {
    return Status::failed(
        fmt::format("{} is missing or empty: write this server's number into it", path));
  }
  text = trimmed(text);
  int64_t id = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error != std::errc() || stop != text.data() + text.size()) {
    return Status::failed(fmt::format("{}: \"{}\" is not a server number", path, text));
  }
  replica().zab.me = ServerId{id};
  if (!members_.contains(ServerId{id})) {
    return Status::failed(fmt::format("{}: server {} is not listed in {}", path, id, file_));
  }
  return {};
}

// The servers' groups and weights, as a whole.
Status ConfigReader::check_members() {
  for (const auto& [key, line] : lines_of_members_) {
    std::optional<ServerId> id = consensus::parse_weight_key(key);
    if (id && !members_.contains(*id)) {
      warn(line, fmt::format("{} is ignored: there is no such server", key));
    }
  }
  if (auto wrong = hierarchy_.complete(members_)) {
    auto line = lines_of_members_.find(wrong->key);
    fail(line == lines_of_members_.end() ? Property{file_, 0, wrong->key, ""} : line->second,
         wrong->what);
    return status_;
  }
  if (auto both = consensus::find_shared_byte(members_)) {
    return Status::failed(
        fmt::format("{}: server.{} and server.{} can't be in one ensemble: their sessions would "
                    "have the same numbers; give one of them another number",
                    file_, both->first.value, both->second.value));
  }
  return {};
}

// As Java: the list of the servers says what each is.
void ConfigReader::compare_role() {
  const consensus::ZabConfig& zab = replica().zab;
  if (!peer_type_ || (peer_type_->value == "observer") == !zab.wants_vote) return;
  warn(*peer_type_,
       fmt::format("peerType={} is ignored: by server.{} this server is {}", peer_type_->value,
                   zab.me.value, zab.wants_vote ? "a participant" : "an observer"));
}

// A server that listens on all addresses, and is to be told to others, is told by its name.
Status ConfigReader::tell_own_address() {
  const consensus::ReplicaConfig& replica = config_.host.replica;
  auto own = members_.find(replica.zab.me);
  if (!replica.reconfig_enabled || own == members_.end()) return {};
  if (!consensus::is_wildcard(own->second.host)) return {};
  std::optional<std::string> name = name_for_others();
  if (!name) {
    return Status::failed(fmt::format(
        "{}: server.{}={} would be told to the other members, for reconfigEnabled is true, and the "
        "name of this machine has no address by which they could reach it; write the address by "
        "which they reach this server, and quorumListenOnAllIPs=true if it is to listen on all",
        file_, replica.zab.me.value, own->second.host));
  }
  config_.warnings.push_back(
      fmt::format("{}: server.{}={}: the other members are told {}, the name of this machine",
                  file_, replica.zab.me.value, own->second.host, *name));
  own->second.host = *name;
  config_.host.listen_on_all = true;
  return {};
}

// A server may listen everywhere, and nobody finds it there: its own line alone may say so.
Status ConfigReader::check_addresses() const {
  const consensus::ReplicaConfig& replica = config_.host.replica;
  if (replica.is_standalone()) return {};
  for (const auto& [id, member] : members_) {
    if (!consensus::is_wildcard(member.host)) continue;
    if (id != replica.zab.me) {
      return Status::failed(
          fmt::format("{}: server.{}={} is no address by which that server is found; write its own",
                      file_, id.value, member.host));
    }
  }
  return {};
}

// `;[host:]port` at the end of this server's own line stands for clientPort.
Status ConfigReader::take_own_client_address() {
  ServerId me = replica().zab.me;
  std::string address = members_[me].client_address;
  if (address.empty()) return {};
  size_t colon = address.rfind(':');
  auto port = static_cast<uint16_t>(std::stoi(address.substr(colon + 1)));
  if (config_.wire.port && *config_.wire.port != port) {
    return Status::failed(fmt::format("{}: clientPort {} differs from the one in server.{}", file_,
                                      *config_.wire.port, me.value));
  }
  config_.wire.port = port;
  if (config_.wire.address.empty()) {
    config_.wire.address = consensus::host_to_listen_on(address.substr(0, colon));
  }
  return {};
}

}  // namespace zabfs::fsd
