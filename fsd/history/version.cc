#include "fsd/history/version.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "tree/origin.h"

namespace zabfs::fsd {

Who who_of(const tree::Txn& txn) {
  tree::Origin origin = tree::read_origin(txn.origin);
  Who who;
  who.session = txn.header.session;
  // A client's session moves. A leader of ours says so; Apache ZooKeeper's says nothing.
  bool is_told =
      origin.uid || !origin.program.empty() || !origin.address.empty() || !origin.users.empty();
  bool stays = tree::is_mounts(who.session);
  if (who.session != tree::SessionId{} && (stays || is_told)) {
    who.node = tree::maker_of(who.session);
  }
  if (origin.node) who.node = *origin.node;
  who.uid = origin.uid;
  who.user = fmt::format("{}", fmt::join(origin.users, ","));
  who.client = std::move(origin.address);
  who.program = std::move(origin.program);
  return who;
}

Who without_names(const Who& who) { return {who.session, who.node, {}, {}, {}, {}}; }

const char* name_of(What what) {
  switch (what) {
    case What::kBefore:
      return "before";
    case What::kCreated:
      return "created";
    case What::kChanged:
      return "changed";
    case What::kAcl:
      return "acl";
    case What::kRemoved:
      return "removed";
  }
  return "changed";
}

std::string FileVersion::name() const {
  return fmt::format("0x{:x}{}", zxid.value, what == What::kRemoved ? ".gone" : "");
}

}  // namespace zabfs::fsd
