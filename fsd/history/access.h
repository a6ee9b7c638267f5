// Who may see the past of a file: who may see it now, and could then. Pure functions of trees.
//
// What is there no more is judged by the nearest directory above it that is there.
#pragma once

#include <string>

#include "fsd/history/version.h"
#include "fsd/view/view.h"
#include "tree/tree.h"

namespace zabfs::fsd {

// The directories above `path` in that tree, from the root on.
Above above_of(const tree::Tree& tree, const std::string& path, const ViewOptions& options,
               const Above& same_as = nullptr);
// Whether a caller could reach what was below these.
bool could_reach(const Above& above, const Caller& caller);

// With the tree as it is now. Reaching needs search permission on every directory above. If the
// name is gone, it needs permission to list the last directory above that is there.
bool may_reach_now(const tree::Tree& now, const std::string& path, const Caller& caller,
                   const ViewOptions& options);
// The same, and to read what has the name now.
bool may_read_now(const tree::Tree& now, const std::string& path, const Caller& caller,
                  const ViewOptions& options);

// Whether that caller may know that something was there, and its attributes: he could reach it, and
// may now. Of what is gone, he could list its directory, too.
bool may_see(const Above& above, const tree::Tree& now, const std::string& path,
             const Caller& caller, const ViewOptions& options);
// Whether that caller may read the contents of a version, or list what a directory was.
bool may_read(const FileVersion& version, const tree::Tree& now, const std::string& path,
              const Caller& caller, const ViewOptions& options);

}  // namespace zabfs::fsd
