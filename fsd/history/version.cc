#include "fsd/history/version.h"

#include <fmt/format.h>

namespace zabfs::fsd {

Who who_of(tree::SessionId session) {
  Who who;
  who.session = session;
  if (session != tree::SessionId{}) who.node = tree::maker_of(session);
  return who;
}

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
