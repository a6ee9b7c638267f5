// The file that audit lines are appended to.
//
// The daemon may be root, so nobody else may be able to make it write elsewhere, or write there
// himself. No part of the path may be a symbolic link. Its directories and the file belong to root
// or to the daemon's user, and others can't write to them; the sticky bit of a directory protects
// what is in it as well (/tmp). The file is a regular one that has no other name.
#pragma once

#include <string>

#include "fsd/beneath.h"
#include "tree/status.h"

namespace zabfs::fsd::audit {

// Opens the file of that absolute path to append; makes it with mode 0600 if there is none. The
// error names what of the path is wrong.
StatusOr<Descriptor> open_audit_file(const std::string& path);

}  // namespace zabfs::fsd::audit
