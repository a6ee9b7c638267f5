// ACLs as they are shown to clients that may not change them: without the secret part of digests.
#pragma once

#include "tree/acl.h"

namespace zabfs::tree {

AclList without_digests(AclList acl);

}  // namespace zabfs::tree
