// A snapshot without what ends with its sessions: no session, no ephemeral, and all else as it is.
// For backups, which are restored when those sessions are long over.
//
// It is a filter of the stream that snapshot.h describes, element by element. Places of znodes,
// which blocks of times refer to, are those of the stream that comes out. A parent keeps what is
// stored of its Stat. The cversion that clients get has the number of its children in it
// (FORMATS.md 1.6): it becomes what it would be, had each ephemeral been removed.
//
// Pure: bytes in, bytes out. Memory: the longest element, and 4 bytes for each ephemeral.
// Not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tree/jute.h"
#include "tree/status.h"

namespace zabfs::tree {

class LastingSnapshot {
 public:
  struct Counts {
    uint64_t znodes = 0, data_bytes = 0;    // that stay
    uint64_t sessions = 0, ephemerals = 0;  // that are left out
    int64_t digest = 0;                     // of the tree that stays (Tree::digest)
    bool operator==(const Counts&) const = default;
  };

  // The next bytes of the stream, in pieces of any size. Appends to `out` what stays of them. A
  // failure says at which byte of the stream something is wrong; nothing may be fed any more then.
  Status feed(std::string_view bytes, std::string& out);
  // The stream has ended. Fails if it is cut short.
  Status finish() const;
  // Whole once all was fed.
  const Counts& counts() const { return counts_; }

 private:
  enum class Section { kSessionCount, kSessions, kAclCount, kAcls, kNodes, kTimes };
  // Takes one element; false if the input does not hold all of it, or if it is none (`bad_`).
  bool take_element(jute::Reader& in, std::string_view from, std::string& out);
  bool take_count(jute::Reader& in, std::string& out);
  bool take_acl(jute::Reader& in, std::string_view from, std::string& out);
  bool take_node(jute::Reader& in, std::string_view from, std::string& out);
  bool take_times(jute::Reader& in, std::string& out);

  Section section_ = Section::kSessionCount;
  Counts counts_;
  std::string pending_;
  uint64_t offset_ = 0;  // of the first byte that is pending
  uint64_t left_ = 0;    // of the section's elements
  bool bad_ = false;
  uint32_t place_ = 0;              // of the next znode in the stream that comes in
  std::vector<uint32_t> left_out_;  // places of ephemerals, rising
};

}  // namespace zabfs::tree
