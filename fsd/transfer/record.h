// A subtree as a stream of records: what `@/export` gives and `@/import` takes, and so what passes
// between zabfs and zabfsd.
//
// The stream is
//
//     header, then entries and what was left out (a directory before what is in it), then the end
//
// and a record is, in the terms of tree/jute.h,
//
//     length   int, of what follows
//     type     byte: 1 header, 2 entry, 3 left out, 4 end
//     header   string "zabfs-tree", int 1, long zxid, long time in ms, long bytes, byte flags
//     entry    string path, byte kind, byte part, int mode, int uid, int gid, byte flags,
//              long seconds, int nanoseconds, long TTL in ms, ACL, buffer data
//     left out string path, byte why
//     end      long entries, long bytes of data
//
// A path is relative to the directory that is copied, "" is that directory itself, and no path can
// lead out of it (`check_path`). The end counts what came before it, so a stream that was cut off
// is never taken for a whole one.
//
// Pure. Everything that is decoded is input: what breaks a rule, or is larger than the reader was
// told, makes the stream bad from there on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "tree/acl.h"
#include "tree/posix.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::transfer {

using tree::Kind;

struct Header {
  tree::Zxid zxid;      // that the subtree is as of; 0: it is not one of a tree
  int64_t time_ms = 0;  // of the tree's last change, by the leader's clock; 0: it is not known
  int64_t bytes = 0;    // of all that follows; 0: it is not known
  // Of an import:
  bool removes_others = false;  // what the stream does not have goes
  bool is_dry_run = false;      // nothing is changed, only told
  bool operator==(const Header&) const = default;
};

enum class Part {
  kWhole,
  kImplied,  // a directory that others are below; if it is there, it stays as it is
  kOwnData,  // the data of a directory's own znode, and nothing else
};

struct Entry {
  std::string path;
  Kind kind = Kind::kFile;
  Part part = Part::kWhole;
  uint32_t mode = 0, uid = 0, gid = 0;
  // It has no posix entry: the ACL alone says who may do what.
  bool is_plain = false;
  bool is_container = false;
  tree::Time mtime;
  int64_t ttl_ms = 0;  // 0: none
  // The ACL without its posix entry; empty where mode, owner and group say all of it.
  tree::AclList acl;
  std::string data;  // of a directory: of its own znode
  bool operator==(const Entry&) const = default;
};

enum class Reason {
  kNoAccess,  // who copies may not read it
  kSecrets,   // the entries of its ACL that have digests, which only its owner may see
  kNoFile,    // a socket, or a symlink that leads nowhere: nothing can be copied of it
  kLongName,  // a child whose name is too long for a file
};
struct LeftOut {
  std::string path;
  Reason why = Reason::kNoAccess;
  bool operator==(const LeftOut&) const = default;
};

struct End {
  int64_t entries = 0, bytes = 0;
  bool operator==(const End&) const = default;
};

using Record = std::variant<Header, Entry, LeftOut, End>;

inline constexpr size_t kMaxAclBytes = 256u << 10;
inline constexpr size_t kMaxAclEntries = 1'000;
// What an entry can take beside its data.
inline constexpr size_t kMaxHeadBytes = kMaxAclBytes + tree::kMaxPathBytes + 256;

// Whether a path may be that of an entry: relative, with names that ZooKeeper and a mount have,
// none of them "@". Else why not.
Status check_path(std::string_view path);
// The same for an entry as a whole.
Status check(const Entry& entry);
// A name or a path as it may be printed: what is no text is escaped.
std::string printable(std::string_view name);

void encode(const Record& record, std::string& out);
// An entry up to its data, `data_bytes` of which follow. `entry.data` is not looked at.
void encode_head(const Entry& entry, size_t data_bytes, std::string& out);

// An ACL as lines `scheme:id:perms`, of any scheme. A newline in an id is written %0A, and % as
// %25.
std::string acl_lines(const tree::AclList& acl);
std::optional<tree::AclList> parse_acl_lines(std::string_view text);

// Takes a stream in pieces of any size.
class Decoder {
 public:
  // No entry has more data than that.
  explicit Decoder(size_t max_data_bytes) : max_bytes_(max_data_bytes + kMaxHeadBytes) {}

  void feed(std::string_view bytes);
  // The next record; nullopt if it is not there as a whole, or if the stream is bad.
  std::optional<Record> next();
  // What is wrong with it. A stream that goes on behind its end is bad, too.
  const Status& status() const { return status_; }
  bool has_ended() const { return state_ == State::kEnded; }
  // Fed and not taken yet.
  size_t buffered() const { return buffer_.size() - at_; }

 private:
  enum class State { kBegins, kGoesOn, kEnded };
  std::optional<Record> refuse(std::string why);
  std::optional<Record> take(std::string_view body);

  size_t max_bytes_;
  std::string buffer_;
  size_t at_ = 0;
  State state_ = State::kBegins;
  End counted_;
  Status status_;
};

}  // namespace zabfs::transfer
