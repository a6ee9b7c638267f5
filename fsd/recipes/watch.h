// `@/watch`: a gap-free feed of a directory's changes, one line per event, `ZXID TYPE NAME`; and
// `@/watch-all`, the same for all that is below it, by relative path.
//
// A reader is told of what it could find by listing: of nothing below a directory that it may not
// read and enter. When it may again, the line is the directory's own, `acl`.
//
// Fed by commits in order, on the strand. Each open handle has a queue of lines; when it overflows,
// or the tree was replaced by a snapshot, the reader is told to `resync` and gets the difference.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fsd/view/view.h"
#include "tree/tree.h"

namespace zabfs::fsd {

class Watch {
 public:
  // Starts at the tree's state now; the first line is its zxid. `may_list` says which directories
  // the reader may list; without it, all.
  Watch(const tree::Tree& tree, std::string directory, bool subtree = false,
        NodeTest may_list = nullptr);

  // Takes what concerns this directory; true if there are lines now where there were none.
  bool published(const tree::Tree& tree, const std::vector<tree::Change>& changes);
  bool tree_replaced(const tree::Tree& tree);

  bool has_line() const { return !rest_.empty() || !lines_.empty(); }
  // The directory is gone and everything was read: end of file.
  bool at_end() const { return ended_ && !has_line(); }
  // At most one line, or the rest of one.
  std::string read(size_t size);
  const std::string& directory() const { return directory_; }

 private:
  struct Seen {
    tree::Zxid czxid, mzxid;
    int32_t aversion;
    bool is_open;  // the reader may list it
  };
  Seen see(const tree::ZNode& node, const std::string& path) const;
  using Picture = std::map<std::string, Seen>;
  bool shows(const Picture& picture, const std::string& name) const;
  Picture take_picture(const tree::Tree& tree) const;
  void add_below(const tree::Tree& tree, const tree::ZNode& parent, const std::string& prefix,
                 Picture& picture) const;
  // How the watch calls that path; nullopt if it doesn't concern it.
  std::optional<std::string> name_of(const std::string& path) const;
  bool passes_over(const tree::Tree& tree, const tree::Change& change,
                   const std::string& name) const;
  void look_at_parent(const tree::Tree& tree, const std::string& path);
  void add(tree::Zxid zxid, const char* type, const std::string& name);
  void resync(const tree::Tree& tree);

  std::string directory_;
  bool subtree_;
  NodeTest may_list_;
  Picture picture_;  // what the reader has been told of
  std::deque<std::string> lines_;
  std::string rest_;
  bool ended_ = false;
};

}  // namespace zabfs::fsd
