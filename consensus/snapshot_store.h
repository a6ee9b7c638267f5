// Snapshots on disk: `snapshot.ZXID` (16 hex digits), each exact at its zxid and checksummed.
//
//   header, 40 bytes, little-endian: u64 magic, u32 version, u32 CRC-32C of bytes 16..40,
//     i64 zxid, u64 0, u64 0
//   chunks: u32 length, u32 CRC-32C of the chunk chained on the one before, bytes; the last has
//     length 0
//   the chunks together: ZooKeeper's SNAP stream (tree/snapshot.h)
//
// `diverged.ZXID` is of the same format (write_diverged).
//
// A file has its final name only once it is whole and synced, and its directory too.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/disk.h"
#include "tree/status.h"
#include "tree/tree.h"

namespace zabfs::consensus {

inline constexpr std::string_view kSnapshotPrefix = "snapshot.";
struct StoredSnapshot {
  tree::Zxid zxid;
  std::string name;
};
std::vector<StoredSnapshot> list_snapshots(Disk& disk,  // oldest first
                                           std::string_view prefix = kSnapshotPrefix);
inline constexpr size_t kSnapshotChunkBytes = 256u << 10;  // of those that are written

// Reads one, chunk by chunk. What is open stays readable when the file is removed.
class SnapshotReader {
 public:
  // These fail if something is wrong with the file. `name` is for messages.
  Status open(Disk& disk, tree::Zxid zxid);
  Status open(std::unique_ptr<File> file, std::string name, tree::Zxid zxid);
  Status next(std::string& chunk);  // empty at the end

  tree::Zxid zxid() const { return zxid_; }
  uint64_t offset() const { return offset_; }  // in the file, behind what was read

 private:
  tree::Zxid zxid_;
  std::string name_;
  std::unique_ptr<File> file_;
  uint64_t offset_ = 0;
  uint32_t sum_ = 0;
};

class SnapshotStore {
 public:
  explicit SnapshotStore(Disk& disk) : disk_(disk) {}

  std::vector<tree::Zxid> list();  // newest first
  // `next` appends bytes of the stream and returns false at its end. Returns what failed.
  DiskStatus write(tree::Zxid zxid, const std::function<bool(std::string& out)>& next);
  // A tree that differs from the ensemble's, under a name that no other call here knows. Nothing is
  // written where there is one already.
  DiskStatus write_diverged(tree::Tree& tree);
  static std::string diverged_name(tree::Zxid zxid);
  Status open(tree::Zxid zxid, SnapshotReader& reader) { return reader.open(disk_, zxid); }
  // Reads it all, and fails if something is wrong with the file. So does `load`.
  Status check(tree::Zxid zxid);
  StatusOr<std::unique_ptr<tree::Tree>> load(tree::Zxid zxid);
  // Where the file of that snapshot is, or would be.
  std::string path_of(tree::Zxid zxid) const;
  void remove(tree::Zxid zxid);
  void retire(tree::Zxid zxid);  // the node needs it no more (Disk::retire)
  // Whether a file of so many bytes finds room.
  DiskStatus probe(size_t bytes);
  void remove_leftovers();

 private:
  DiskStatus write_as(const std::string& name, tree::Zxid zxid,
                      const std::function<bool(std::string& out)>& next);

  Disk& disk_;
};

}  // namespace zabfs::consensus
