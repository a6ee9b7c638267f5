// What a backup file is. Read by people with `zstdcat FILE | head -n 20`, and by reader.h.
//
//   the file: one zstd frame, with a checksum of its content. The content:
//     zabfs-backup 1             lines `NAME VALUE`, `\n` behind each
//     zxid 0x...                 the last change that is in it
//     time-ms N                  when it was made, in ms since 1970
//     node N                     whose tree it is
//     epoch N                    that this node had promised
//     serving yes|no             whether it had a quorum with it. Without one there may be later
//                                changes that it has not heard of
//     version TEXT               of zabfs
//     member TEXT                a line of the configuration in force; any number of them
//                                and an empty line
//     chunks                     u32 length, little-endian, and so many bytes; the last has length
//     0.
//                                Together: a SNAP stream (tree/snapshot.h) without sessions and
//                                ephemerals (tree/lasting_snapshot.h)
//     znodes N                   of the tree that the chunks are; so are the next two
//     data-bytes N
//     digest N                   as ZooKeeper's, version 2
//     sessions-left-out N
//     ephemerals-left-out N
//     end
//
// A line whose NAME is not known is of a later zabfs, and counts for nothing.
//
// Pure. Bytes of a file are input: refused with a reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tree/lasting_snapshot.h"
#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::backup {

using Counts = tree::LastingSnapshot::Counts;

inline constexpr std::string_view kFirstLine = "zabfs-backup 1\n";
inline constexpr std::string_view kLastLine = "end\n";
inline constexpr size_t kMaxHeaderBytes = 256u << 10;
inline constexpr size_t kMaxTrailerBytes = 4u << 10;
inline constexpr size_t kMaxLines = 1'000;
inline constexpr size_t kMaxChunkBytes = 1u << 20;
inline constexpr size_t kLengthBytes = 4;
// What a reader keeps of the content at once, as a power of two. Writers need less.
inline constexpr int kMaxWindowLog = 24;

struct Header {
  tree::Zxid zxid;
  int64_t time_ms = 0;
  int64_t node = 0;
  uint32_t epoch = 0;
  bool is_serving = false;
  std::string version;
  std::vector<std::string> members;
};

std::string header_text(const Header& header);
// Of the text between the first line and the empty one.
StatusOr<Header> parse_header(std::string_view text);
std::string trailer_text(const Counts& counts);
// Of the text before the last line.
StatusOr<Counts> parse_trailer(std::string_view text);

std::string length_bytes(size_t length);
uint32_t length_at(std::string_view bytes);  // at its beginning, which is there

}  // namespace zabfs::backup
