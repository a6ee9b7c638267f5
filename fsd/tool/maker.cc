#include "fsd/tool/maker.h"

#include <fmt/format.h>
#include <pwd.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <sstream>

#include "fsd/tool/tool.h"
#include "tree/types.h"

namespace zabfs::tool {

namespace {

bool is_uid(const std::string& text) {
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return !text.empty() && std::all_of(text.begin(), text.end(), is_digit);
}

// Empty: there is none.
std::string name_of_user(const std::string& number) {
  static std::map<std::string, std::string> names;  // a look-up can take long
  auto [name, is_new] = names.try_emplace(number);
  if (!is_new) return name->second;
  passwd entry = {};
  passwd* found = nullptr;
  std::string buffer(16u << 10, '\0');
  auto uid = static_cast<uid_t>(std::strtoul(number.c_str(), nullptr, 10));
  int error = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  if (error == 0 && found != nullptr) name->second = entry.pw_name;
  return name->second;
}

// Of `1000`, `digest:bob`, or both with a comma between. Empty: not known.
std::string user_text(const Maker& maker) {
  if (maker.user == "-") return {};
  size_t end = std::min(maker.user.find(','), maker.user.size());
  std::string number = maker.user.substr(0, end);
  if (!is_uid(number)) return maker.user;
  std::string name = name_of_user(number);
  if (name.empty()) return "uid " + maker.user;
  return fmt::format("{}({}){}", name, number, maker.user.substr(end));
}

int node_of_session(const std::string& session) {
  auto id = static_cast<int64_t>(std::strtoull(session.c_str(), nullptr, 16));
  return tree::maker_of(tree::SessionId{id});
}

}  // namespace

Maker read_maker(std::istream& in) {
  Maker maker;
  for (std::string* field :
       {&maker.node, &maker.session, &maker.user, &maker.client, &maker.program}) {
    if (!(in >> *field)) *field = "-";
  }
  return maker;
}

Maker maker_of(const std::string& version_file) {
  std::istringstream in(attribute(version_file, "who"));
  return read_maker(in);
}

std::string short_text_of(const Maker& maker) {
  std::string text = user_text(maker);
  if (text.empty()) text = maker.client == "-" ? "unknown" : maker.client;
  return maker.node == "-" ? text : text + " node " + maker.node;
}

std::string text_of(const Maker& maker) {
  std::string text = user_text(maker);
  auto add = [&text](const char* name, const std::string& value) {
    if (value == "-") return;
    text += fmt::format("{}{}{}", text.empty() ? "" : ", ", name, value);
  };
  add("", maker.program);
  add("from ", maker.client);
  add("node ", maker.node);
  add("session ", maker.session);
  if (text.empty()) return "nobody knows by whom";
  // Of a client, in a txn that a leader of Apache ZooKeeper made: the session may have moved.
  if (maker.node == "-" && maker.session != "-") {
    text += fmt::format(" (begun at node {})", node_of_session(maker.session));
  }
  bool is_anybody = maker.user == "-" && maker.client == "-";
  return is_anybody ? text + ", user not known" : text;
}

}  // namespace zabfs::tool
