// The two ends of a copy outside the tree: where the entries of an import come from, and where
// those of an export go. There is one of each for a directory and for a tar.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "fsd/transfer/record.h"
#include "tree/status.h"

namespace zabfs::archive {

using transfer::Entry;
using transfer::Kind;
using transfer::Part;

// Of a source, in all: more can only be a mistake, or meant to do harm.
inline constexpr uint64_t kMaxEntries = 10'000'000;
inline constexpr uint64_t kMaxBytes = uint64_t{64} << 30;
// Of one file: no node takes more, whatever its configuration.
inline constexpr size_t kMaxFileBytes = tree::Limits(tree::Limits::kMostBytes).data_bytes();

class Source {
 public:
  struct Taken {
    Status status;
    std::optional<Entry> entry;  // neither this nor an error: that was all
  };

  Source() = default;
  virtual ~Source() = default;
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  // A directory comes before what is in it. Each entry has been checked (transfer::check).
  virtual Taken next() = 0;
  // How far it is, of `total` (0: that is not known), in bytes of the source.
  virtual uint64_t done() const = 0;
  virtual uint64_t total() const = 0;
};

class Sink {
 public:
  Sink() = default;
  virtual ~Sink() = default;
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  virtual Status put(const Entry& entry) = 0;
  // All is there. A directory is then on the disk as far as cp leaves it there.
  virtual Status finish() = 0;
  // How many entries have lost an ACL, a time to live or being a container, which this target can't
  // keep.
  virtual uint64_t incomplete() const { return 0; }
};

}  // namespace zabfs::archive
