#include "tree/digests.h"

namespace zabfs::tree {

AclList without_digests(AclList acl) {
  for (Acl& entry : acl) {
    size_t colon = entry.who.id.find(':');
    bool is_secret = entry.who.scheme == "digest" && colon != std::string::npos;
    if (is_secret) entry.who.id = entry.who.id.substr(0, colon) + ":x";
  }
  return acl;
}

}  // namespace zabfs::tree
