// zabfs status and members: `@/cluster` of a mount of this machine.
#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <thread>

#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace json = boost::json;

namespace {

constexpr uint64_t kCounterBits = 32;  // of a zxid; the epoch is above

struct MemberLine {
  std::string id, address, role, zxid;
};

// What `@/cluster` says.
struct Cluster {
  std::map<std::string, std::string> values;  // `quorum`: `yes`
  std::vector<MemberLine> members;
  std::vector<std::string> notes;

  std::string value(const std::string& name) const {
    auto found = values.find(name);
    return found == values.end() ? "-" : found->second;
  }
};

Cluster parse(std::istream& in) {
  Cluster cluster;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    std::string name, value, word;
    fields >> name;
    if (name == "member") {
      MemberLine& member = cluster.members.emplace_back();
      fields >> member.id >> member.address >> member.role >> word >> member.zxid;
    } else if (name == "note") {
      cluster.notes.push_back(line.substr(std::min(name.size() + 1, line.size())));
    } else if (fields >> value) {
      cluster.values[name] = value;
    }
  }
  return cluster;
}

// ---- for scripts

json::value json_of(const std::string& text) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  if (text == "yes" || text == "no") return text == "yes";
  if (text == "-") return nullptr;
  return json::string(text);
}

json::array json_of(const std::vector<MemberLine>& members) {
  json::array array;
  for (const MemberLine& member : members) {
    array.push_back(json::object{{"id", json_of(member.id)},
                                 {"address", member.address},
                                 {"role", member.role},
                                 {"zxid", member.zxid}});
  }
  return array;
}

json::object json_of(const Cluster& cluster) {
  json::object object;
  for (const auto& [name, value] : cluster.values) object[name] = json_of(value);
  object["members"] = json_of(cluster.members);
  if (!cluster.notes.empty()) {
    object["notes"] = json::array(cluster.notes.begin(), cluster.notes.end());
  }
  return object;
}

// ---- for people

uint64_t zxid_of(const std::string& text) {
  uint64_t zxid = 0;
  if (text.starts_with("0x")) std::from_chars(text.data() + 2, text.data() + text.size(), zxid, 16);
  return zxid;
}

// How many transactions a member lacks; unknown across epochs, and of one that nobody hears.
std::string lag_of(const MemberLine& member, uint64_t newest) {
  uint64_t zxid = zxid_of(member.zxid);
  if (member.role == "looking" || zxid >> kCounterBits != newest >> kCounterBits) return "?";
  return std::to_string(newest - std::min(zxid, newest));
}

void print_members(const Cluster& cluster, bool is_colored) {
  uint64_t newest = zxid_of(cluster.value("zxid"));
  for (const MemberLine& member : cluster.members) newest = std::max(newest, zxid_of(member.zxid));
  fmt::print("  {:>3}  {:9} {:14} {:>7}  {}\n", "ID", "ROLE", "ZXID", "BEHIND", "ADDRESS");
  for (const MemberLine& member : cluster.members) {
    fmt::text_style style;
    if (is_colored && member.role == "leader") style = fmt::emphasis::bold;
    if (is_colored && member.role == "looking") style = fmt::fg(fmt::terminal_color::red);
    const char* here = member.id == cluster.value("node") ? "*" : " ";
    fmt::print(style, "{} {:>3}  {:9} {:14} {:>7}  {}", here, member.id, member.role, member.zxid,
               lag_of(member, newest), member.address);
    fmt::print("\n");
  }
}

void print_state(const std::string& mount, const Cluster& cluster, bool is_colored) {
  fmt::print("{}: node {}, {}", mount, cluster.value("node"), cluster.value("role"));
  bool has_quorum = cluster.value("quorum") == "yes";
  if (!has_quorum && is_colored) {
    fmt::print(fmt::fg(fmt::terminal_color::red) | fmt::emphasis::bold, ", no quorum");
  } else {
    fmt::print(", {}", has_quorum ? "quorum" : "no quorum");
  }
  fmt::print(", epoch {}, zxid {}", cluster.value("epoch"), cluster.value("zxid"));
  if (cluster.value("votes") == "no") fmt::print(", has no vote");
  if (cluster.value("disk") != "ok") fmt::print(", disk {}", cluster.value("disk"));
  fmt::print("\n");
  print_members(cluster, is_colored);
  for (const std::string& note : cluster.notes) fmt::print("note: {}\n", note);
}

int show(const std::string& mount, const StatusOptions& options) {
  std::string file = mount + "/@/cluster";
  std::ifstream in(file);
  if (!in && errno == ENOTCONN) {
    return fail(fmt::format("{}: its zabfsd is gone; its log says why. Start it again", mount));
  }
  if (!in) return fail(error_of(file));
  Cluster cluster = parse(in);
  bool is_colored = ::isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  if (options.as_json) {
    std::cout << (options.members_only ? json::serialize(json_of(cluster.members))
                                       : json::serialize(json_of(cluster)))
              << "\n";
  } else if (options.members_only) {
    print_members(cluster, is_colored);
  } else {
    print_state(mount, cluster, is_colored);
  }
  return cluster.value("quorum") == "yes" ? 0 : kFailed;
}

}  // namespace

std::string find_mount() {
  if (const char* named = std::getenv("ZABFS_MOUNT")) return named;
  std::ifstream in("/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    if (line.find(" - fuse.zabfs ") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string skipped, point;
    fields >> skipped >> skipped >> skipped >> skipped >> point;
    return point;
  }
  return {};
}

int status(const StatusOptions& options) {
  std::string mount = options.mount.empty() ? find_mount() : options.mount;
  if (mount.empty()) {
    return fail(
        "no zabfs mount on this machine: no zabfsd runs here, or its zoo.cfg has no zabfs.mount. "
        "What a node waits for is in its log, too; a node with a clientPort answers `srvr` there");
  }
  if (!options.watch_s) return show(mount, options);
  bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
  while (true) {
    if (is_terminal) fmt::print("\x1b[H\x1b[2J");  // home, and clear
    show(mount, options);
    if (std::cout.flush(); std::fflush(stdout) != 0) return kFailed;  // nobody reads any more
    std::this_thread::sleep_for(std::chrono::duration<double>(*options.watch_s));
  }
}

}  // namespace zabfs::tool
