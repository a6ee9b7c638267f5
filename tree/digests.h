// ACLs as they are shown to who may not change them: without what digests are guessed from.
#pragma once

#include "tree/acl.h"

namespace zabfs::tree {

AclList without_digests(AclList acl);

}  // namespace zabfs::tree
