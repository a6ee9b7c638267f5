// A snapshot file of Apache ZooKeeper, made of one of zabfs's as it streams: as 3.9 writes them,
// and for 3.8 to read. What Java has no place for is left out: attachments of sessions, and times.
// What a mount keeps in ACLs stays, as it does for members that are Java's (FORMATS.md 6.3).
//
// Pure: bytes in, bytes out. Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tree/types.h"

namespace zabfs::tree {

class JavaSnapshotStream {
 public:
  // `zxid` is that of the snapshot.
  explicit JavaSnapshotStream(Zxid zxid) : zxid_(zxid) {}

  // The next piece, as SnapshotCursor cuts them. Appends to `out`.
  void add(std::string_view piece, std::string& out);
  // That was all.
  void finish(std::string& out);

 private:
  void put(std::string_view bytes, std::string& out);
  void seal(std::string& out);

  const Zxid zxid_;
  uint32_t sum_ = 1;  // Adler-32
  bool has_begun_ = false;
};

}  // namespace zabfs::tree
