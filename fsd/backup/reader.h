// Reads a backup (format.h) to its end, verifies all of it, and gives the tree.
//
// A backup may come from anywhere: every length has a bound, and nothing is believed of the tree
// but what it is when it is there. Memory: the tree, its longest znode, and 16 MiB for zstd.
//
// Pure but for the source. Not thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "fsd/backup/format.h"
#include "tree/snapshot.h"
#include "tree/tree.h"

namespace zabfs::backup {

struct Backup {
  Header header;
  Counts counts;                     // as the file says, and as they are
  std::unique_ptr<tree::Tree> tree;  // at the header's zxid
};

// The content of a backup, once unpacked.
class ContentReader {
 public:
  // The content may have so many bytes; more is refused.
  explicit ContentReader(uint64_t max_bytes) : max_bytes_(max_bytes) {}

  // The next bytes. A failure says what is wrong with them.
  Status feed(std::string_view bytes);
  // That was all. Fails if it is cut short, or if the tree is another one than the file says.
  StatusOr<Backup> finish();

 private:
  enum class Section { kHeader, kLength, kChunk, kTrailer, kEnd };
  // Takes one part from the front of what is pending; false if it is not all there.
  StatusOr<bool> take_part(std::string_view& input);
  StatusOr<bool> take_header(std::string_view& input);
  StatusOr<bool> take_trailer(std::string_view& input);
  Status take_chunk(std::string_view chunk);
  Status take_tree(std::string_view chunk);

  const uint64_t max_bytes_;
  uint64_t bytes_ = 0;
  Section section_ = Section::kHeader;
  std::string pending_;
  size_t chunk_bytes_ = 0;
  Header header_;
  Counts told_;
  tree::LastingSnapshot lasting_;  // counts, and says where a tree is none
  std::string ignored_;            // what it gives, which is what it takes
  tree::SnapshotLoader loader_;
  bool has_tree_ = false;
  std::string of_tree_;  // pending for the loader
};

// The next bytes of the file; empty at its end.
using Source = std::function<StatusOr<std::string_view>()>;
// A failure says at which byte of the file something is wrong.
StatusOr<Backup> read_backup(const Source& source, uint64_t max_content_bytes);

}  // namespace zabfs::backup
