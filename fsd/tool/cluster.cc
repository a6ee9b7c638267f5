#include "fsd/tool/cluster.h"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <optional>
#include <sstream>

namespace zabfs::tool {

namespace json = boost::json;

namespace {

constexpr uint64_t kCounterBits = 32;  // of a zxid; the epoch is above
constexpr uint64_t kLagTxns = 1'000;   // as `@/health` counts it

std::string found_in(const std::map<std::string, std::string>& values, const std::string& name) {
  auto found = values.find(name);
  return found == values.end() ? "-" : found->second;
}

std::optional<int64_t> number_of(const std::string& text) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// Behind the first word.
std::string rest_of(std::istringstream& fields) {
  std::string rest;
  std::getline(fields >> std::ws, rest);
  return rest;
}

ClusterMember member_of(std::istringstream& fields) {
  ClusterMember member;
  fields >> member.id >> member.address >> member.role;
  for (std::string name, value; fields >> name >> value;) member.facts[name] = value;
  return member;
}

json::value json_of(const std::string& text) {
  if (std::optional<int64_t> number = number_of(text)) return *number;
  if (text == "yes" || text == "no") return text == "yes";
  if (text == "-") return nullptr;
  return json::string(text);
}

json::array json_of_members(const Cluster& cluster) {
  json::array array;
  for (const ClusterMember& member : cluster.members) {
    std::string lag = lag_of(member, cluster.newest_zxid());
    json::object object{{"id", json_of(member.id)},
                        {"address", member.address},
                        {"role", member.role},
                        {"state", state_of(cluster, member)},
                        {"zxid", member.fact("zxid")},
                        {"behind", json_of(lag == "?" ? "-" : lag)},
                        {"votes", json_of(member.fact("votes"))},
                        {"version", json_of(member.fact("version"))},
                        {"disk", json_of(member.fact("disk"))},
                        {"last_contact_ms", json_of(member.fact("heard"))},
                        {"unreachable", nullptr}};
    if (!member.unreachable.empty()) object["unreachable"] = member.unreachable;
    array.push_back(std::move(object));
  }
  return array;
}

}  // namespace

std::string ClusterMember::fact(const std::string& name) const { return found_in(facts, name); }

std::string Cluster::value(const std::string& name) const { return found_in(values, name); }

const ClusterMember* Cluster::find(const std::string& id) const {
  auto found = std::find_if(members.begin(), members.end(),
                            [&](const ClusterMember& member) { return member.id == id; });
  return found == members.end() ? nullptr : &*found;
}

uint64_t Cluster::newest_zxid() const {
  uint64_t newest = zxid_of(value("zxid"));
  for (const ClusterMember& member : members) {
    newest = std::max(newest, zxid_of(member.fact("zxid")));
  }
  return newest;
}

Cluster parse_cluster(const std::string& text) {
  Cluster cluster;
  std::map<std::string, std::string> unreachable;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name, word;
    fields >> name;
    if (name == "member") {
      cluster.members.push_back(member_of(fields));
    } else if (name == "note") {
      cluster.notes.push_back(rest_of(fields));
    } else if (name == "unreachable") {
      fields >> word;
      unreachable[word] = rest_of(fields);
    } else if (fields >> word) {
      cluster.values[name] = word;
    }
  }
  for (ClusterMember& member : cluster.members) member.unreachable = unreachable[member.id];
  return cluster;
}

uint64_t zxid_of(const std::string& text) {
  uint64_t zxid = 0;
  if (text.starts_with("0x")) std::from_chars(text.data() + 2, text.data() + text.size(), zxid, 16);
  return zxid;
}

std::string lag_of(const ClusterMember& member, uint64_t newest) {
  uint64_t zxid = zxid_of(member.fact("zxid"));
  if (!member.is_here() || zxid >> kCounterBits != newest >> kCounterBits) return "?";
  return std::to_string(newest - std::min(zxid, newest));
}

std::string state_of(const Cluster& cluster, const ClusterMember& member) {
  if (member.fact("disk") == "full") return "disk full";
  if (!cluster.has_quorum()) return member.unreachable.empty() ? "looking" : "lost";
  if (member.role == "-" && member.unreachable.empty()) return "unknown";
  if (!member.is_here()) return "lost";
  std::optional<int64_t> lag = number_of(lag_of(member, cluster.newest_zxid()));
  return lag && static_cast<uint64_t>(*lag) > kLagTxns ? "lagging" : "up";
}

std::string json_text(const Cluster& cluster) {
  json::object object;
  for (const auto& [name, value] : cluster.values) object[name] = json_of(value);
  object["members"] = json_of_members(cluster);
  object["notes"] = json::array(cluster.notes.begin(), cluster.notes.end());
  return json::serialize(object);
}

std::string json_text_of_members(const Cluster& cluster) {
  return json::serialize(json_of_members(cluster));
}

}  // namespace zabfs::tool
