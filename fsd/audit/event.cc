#include "fsd/audit/event.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <string_view>
#include <utility>

#include "fsd/log_line.h"

namespace zabfs::fsd::audit {

namespace {

const char* name_of(Result result) {
  switch (result) {
    case Result::kSuccess:
      return "success";
    case Result::kFailure:
      return "failure";
    case Result::kInvoked:
      return "invoked";
  }
  return "";
}

void add(std::string& text, const char* name, std::string_view value) {
  if (value.empty()) return;
  text += fmt::format("{}={}\t", name, log_line(value, kMaxValueBytes));
}

}  // namespace

Who who_of(tree::SessionId session, const tree::Identities& identities, std::string ip) {
  Who who{session, {}, {}, std::move(ip)};
  for (const tree::Id& id : identities) {
    if (id.scheme == tree::kUidScheme) {
      uint32_t uid = 0;
      std::from_chars(id.id.data(), id.id.data() + id.id.size(), uid);
      who.uids.push_back(uid);
    } else if (id.scheme == "digest") {
      who.users.push_back(id.id.substr(0, id.id.find(':')));
    } else if (id.scheme == "ip" || id.scheme == "x509" || id.scheme == "sasl") {
      who.users.push_back(id.id);
    }
  }
  std::erase(who.users, "");
  return who;
}

size_t Event::size_bytes() const {
  size_t size = sizeof(Event) + who.ip.size() + znode.size() + znode_type.size() + acl.size() +
                who.uids.size() * sizeof(uint32_t);
  for (const std::string& user : who.users) size += sizeof(std::string) + user.size();
  return size;
}

std::string text_of(const Event& event, const std::vector<std::string>& users) {
  std::string text;
  if (event.who.session != tree::SessionId{}) {
    add(text, "session", fmt::format("0x{:x}", static_cast<uint64_t>(event.who.session.value)));
  }
  add(text, "user", fmt::format("{}", fmt::join(users, ",")));
  add(text, "ip", event.who.ip);
  add(text, "operation", event.operation);
  add(text, "znode", event.znode);
  add(text, "znode_type", event.znode_type);
  add(text, "acl", event.acl);
  return text + "result=" + name_of(event.result);
}

}  // namespace zabfs::fsd::audit
