#include "fsd/history/access.h"

#include <algorithm>

#include "tree/path.h"

namespace zabfs::fsd {

namespace {

bool is_same(const View& a, const View& b) {
  return a.kind == b.kind && a.mode == b.mode && a.uid == b.uid && a.gid == b.gid;
}

// Visits the znodes above `path`, from the root on, with their paths; stops at one that is not
// there. Whether all are.
template <class Visit>
bool for_each_above(const tree::Tree& tree, const std::string& path, const Visit& visit) {
  size_t end = 0;
  while (path != "/") {
    std::string directory = end == 0 ? "/" : path.substr(0, end);
    const tree::ZNode* node = tree.find(directory);
    if (node == nullptr) return false;
    if (!visit(*node, directory)) return true;
    end = path.find('/', end + 1);
    if (end == std::string::npos) break;
  }
  return true;
}

}  // namespace

Above above_of(const tree::Tree& tree, const std::string& path, const ViewOptions& options,
               const Above& same_as) {
  std::vector<View> views;
  for_each_above(tree, path, [&](const tree::ZNode& node, const std::string& directory) {
    views.push_back(view_of(tree, node, directory, options));
    return true;
  });
  if (same_as &&
      std::equal(views.begin(), views.end(), same_as->begin(), same_as->end(), is_same)) {
    return same_as;
  }
  return std::make_shared<const std::vector<View>>(std::move(views));
}

bool could_reach(const Above& above, const Caller& caller) {
  return std::all_of(above->begin(), above->end(),
                     [&](const View& view) { return may(view, caller, kMaySearch); });
}

bool may_reach_now(const tree::Tree& now, const std::string& path, const Caller& caller,
                   const ViewOptions& options) {
  bool may_search = true, may_list = true;
  for_each_above(now, path, [&](const tree::ZNode& node, const std::string& directory) {
    View view = view_of(now, node, directory, options);
    may_search = may_search && may(view, caller, kMaySearch);
    may_list = may(view, caller, kMayRead | kMaySearch);
    return may_search;
  });
  return may_search && (may_list || now.find(path) != nullptr);
}

bool may_read_now(const tree::Tree& now, const std::string& path, const Caller& caller,
                  const ViewOptions& options) {
  if (!may_reach_now(now, path, caller, options)) return false;
  const tree::ZNode* node = now.find(path);
  return node == nullptr || may(view_of(now, *node, path, options), caller, kMayRead);
}

bool may_see(const Above& above, const tree::Tree& now, const std::string& path,
             const Caller& caller, const ViewOptions& options) {
  bool could_list = above->empty() || may(above->back(), caller, kMayRead);
  return could_reach(above, caller) && (could_list || now.find(path) != nullptr) &&
         may_reach_now(now, path, caller, options);
}

bool may_read(const FileVersion& version, const tree::Tree& now, const std::string& path,
              const Caller& caller, const ViewOptions& options) {
  return may(version.view, caller, kMayRead) &&
         may_see(version.above, now, path, caller, options) &&
         may_read_now(now, path, caller, options);
}

}  // namespace zabfs::fsd
