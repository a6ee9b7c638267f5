// zabfs status and members: `@/cluster` of a mount of this machine.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>

#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace json = boost::json;

namespace {

json::value value_of(const std::string& text) {
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size()) return number;
  if (text == "yes" || text == "no") return text == "yes";
  if (text == "-") return nullptr;
  return json::string(text);
}

json::object member_of(std::istringstream& fields) {
  json::object member;
  std::string id, address, role, word, zxid;
  fields >> id >> address >> role >> word >> zxid;
  member["id"] = value_of(id);
  member["address"] = address;
  member["role"] = role;
  member["zxid"] = zxid;
  return member;
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

int status(std::string mount, bool members_only, bool as_json) {
  if (mount.empty()) mount = find_mount();
  if (mount.empty()) {
    return fail(
        "no zabfs mount on this machine: no zabfsd runs here, or its zoo.cfg has no zabfs.mount. "
        "What a node waits for is in its log, too; a node with a clientPort answers `srvr` there");
  }
  std::string file = mount + "/@/cluster";
  std::ifstream in(file);
  if (!in && errno == ENOTCONN) {
    return fail(fmt::format("{}: its zabfsd is gone; its log says why. Start it again", mount));
  }
  if (!in) return fail(error_of(file));
  std::string line;
  json::object state;
  json::array members, notes;
  bool quorum = false;
  while (std::getline(in, line)) {
    quorum = quorum || line == "quorum yes";
    std::istringstream fields(line);
    std::string name, value;
    fields >> name;
    bool is_member = name == "member", is_note = name == "note";
    if (as_json && is_member) {
      members.push_back(member_of(fields));
    } else if (as_json && is_note) {
      notes.emplace_back(line.substr(std::min(name.size() + 1, line.size())));
    } else if (as_json && fields >> value) {
      state[name] = value_of(value);
    } else if (!members_only || is_member) {
      fmt::print("{}\n", line);
    }
  }
  if (as_json && members_only) std::cout << json::serialize(members) << "\n";
  if (as_json && !members_only) {
    state["members"] = std::move(members);
    if (!notes.empty()) state["notes"] = std::move(notes);
    std::cout << json::serialize(state) << "\n";
  }
  return quorum ? 0 : kFailed;
}

}  // namespace zabfs::tool
