// What the entries of an import become in the tree: operations of ZooKeeper's, or nothing where the
// tree has the same already, or the reason why not.
//
// The caller may do what copying each file by hand would let it do (placing.h). As with `cp -p`,
// what it may not is no error where it concerns an owner: a user's copies are the user's, and then
// without setuid and setgid.
//
// Entries come in the order of the stream. Those before may not be in the tree yet: their commits
// are on the way. So the plan remembers the stream's directories. A directory that this import
// makes can be filled whatever its mode will be; its last mode and its time come at the end
// (`settle`), since making what is in it moves its time.
//
// Pure: it only looks at the tree that it is given.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "fsd/recipes/placing.h"
#include "fsd/transfer/record.h"

namespace zabfs::fsd {

class ImportPlan {
 public:
  static constexpr size_t kMaxDirectories = 2'000'000;
  static constexpr size_t kMaxSeenBytes = 512u << 20;  // of the names that `others` compares with

  struct Options {
    std::string top;            // the directory that is imported into
    size_t max_data_bytes = 0;  // of a znode
    bool may_have_ttl = false;  // extendedTypesEnabled
    bool removes_others = false;
  };
  enum class Change { kNone, kMade, kChanged, kRemoved, kSkipped };
  struct Step {
    Change change = Change::kNone;
    // A change of the ACL, which no multi of ZooKeeper's can have: a request of its own, first.
    std::optional<tree::MultiOp> first;
    std::vector<tree::MultiOp> ops;
    bool is_empty() const { return !first && ops.empty(); }
    FileError error = FileError::kOk;
    std::string why;  // in words, where the error does not say it
  };

  explicit ImportPlan(Options options) : options_(std::move(options)) {}

  Step put(const transfer::Entry& entry, const Placing& placing);
  // What was left out of the stream: what is there stays.
  void keep(const std::string& path) { kept_.insert(path); }
  // A commit with this entry is in the tree, or has failed. One that failed is put again.
  void committed(const transfer::Entry& entry);
  void failed(const transfer::Entry& entry);

  // ---- when all of the stream is in the tree
  // The paths of what the stream does not have, each below a directory that it has.
  std::vector<std::string> others(const tree::Tree& tree) const;
  // Removes one of them with all that is below it.
  Step remove(const std::string& path, const Placing& placing) const;
  // The stream's directories, from the lowest up, and what each still lacks.
  std::vector<std::string> directories() const;
  Step settle(const std::string& directory, const Placing& placing) const;

  // The path in the tree.
  std::string path_of(const std::string& path) const;

 private:
  struct Directory {
    tree::AclList acl;  // its last one; empty: it stays as it is
    tree::Time mtime;
    bool is_pending = false;  // the commit that makes it is on the way
    bool is_ours = false;     // made or changed by this import, which so may fill it
  };
  Step put_directory(const transfer::Entry& entry, const std::string& path, const View* around,
                     const Placing& placing);
  Step put_own_data(const transfer::Entry& entry, const std::string& path, const Placing& placing);
  Step put_file(const transfer::Entry& entry, const std::string& path, const View* around,
                const Placing& placing);
  Step make(const transfer::Entry& entry, const std::string& path, const tree::AclList& acl) const;
  bool may_fill(const std::string& directory, const tree::ZNode* node, const View& view,
                const Placing& placing) const;
  void find_others(const tree::Tree& tree, const tree::ZNode& node, const std::string& name,
                   std::vector<std::string>& found) const;

  const Options options_;
  std::map<std::string, Directory> directories_;
  std::unordered_set<std::string> seen_;
  std::set<std::string> kept_;
  size_t seen_bytes_ = 0;
};

}  // namespace zabfs::fsd
