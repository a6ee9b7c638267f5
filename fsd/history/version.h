// What the past of a file is told in: its versions, and changes. Values.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fsd/view/view.h"
#include "tree/bytes.h"
#include "tree/txn.h"
#include "tree/types.h"

namespace zabfs::fsd {

// Who made a change, as far as its txn says (tree/origin.h). What is not known is empty: of a txn
// that came from a server of Apache ZooKeeper, all but the session, and the node of a mount.
struct Who {
  tree::SessionId session;      // 0: not known
  std::optional<int64_t> node;  // the N of server.N, in one byte
  std::optional<uint32_t> uid;
  std::string user;             // what a client has proven, SCHEME:NAME with commas between
  std::string client, program;  // client: its address
};
Who who_of(const tree::Txn& txn);
// For who may know the attributes of a version, and not its contents.
Who without_names(const Who& who);

enum class What {
  kBefore,  // it was so when what can be read begins, or goes on behind a gap
  kCreated,
  kChanged,  // its data
  kAcl,      // its ACL, and so its mode or owner, alone
  kRemoved,
};
const char* name_of(What what);

// The directories above a file, from the root on, as they were.
using Above = std::shared_ptr<const std::vector<View>>;

// The other end of a move, and the directories above that as they were.
struct Moved {
  std::string path;
  Above above;
};

struct FileVersion {
  tree::Zxid zxid;
  int64_t time_ms = 0;
  Who who;
  What what = What::kBefore;
  View view;  // of what was removed, its last
  tree::Bytes data;
  bool has_data = true;  // false: there was no room for it
  Above above;
  std::shared_ptr<const Moved> from, to;  // it came from there, or what was removed went there
  // `0x500000012`, or `0x500000012.gone`.
  std::string name() const;
};

// Where something is missing.
struct Gap {
  tree::Zxid at;  // what was told last before it
  std::string why;
};

// Of all children that a directory had.
struct DirectoryPast {
  std::map<std::string, std::vector<FileVersion>> children;  // oldest first
  std::vector<Gap> gaps;
  tree::Zxid since, through;  // of the log that was read
  bool left_out = false;      // older ones: there were too many
};

// One znode in one change, for who reads of a subtree.
struct ChangeBelow {
  tree::Zxid zxid;
  int64_t time_ms = 0;
  Who who;
  What what = What::kChanged;
  View view;
  std::string path;
};
// A directory moves with all that is below it.
struct MoveBelow {
  tree::Zxid zxid;
  std::string from, to;  // one of them is within the directory
};
struct SubtreePast {
  std::vector<ChangeBelow> changes;  // oldest first
  std::vector<MoveBelow> moves;      // the same; none older than the changes
  std::vector<Gap> gaps;
  tree::Zxid since;
  bool left_out = false;
};

}  // namespace zabfs::fsd
