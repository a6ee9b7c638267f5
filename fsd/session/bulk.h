// What many znodes are written by: an import, and a restore at the admin port. They send multis one
// behind the other, many at once. All that others write comes behind those that are on the way, so
// these are few and small. tests/bench/transfer.py measures how long others wait.
#pragma once

#include <cstddef>

#include "tree/request.h"

namespace zabfs::fsd::bulk {

inline constexpr size_t kCommitBytes = 128u << 10;  // of one commit, or one file that is larger
inline constexpr size_t kCommitOps = 2'000;
inline constexpr size_t kMaxOnTheWay = 1u << 20;  // in bytes
inline constexpr size_t kMaxRequests = 2'000;

// About what it takes.
inline size_t bytes_of(const tree::MultiOp& op) { return op.body.size() + 64; }
// Whether one commit may have so much.
inline bool fits(size_t bytes, size_t ops) { return bytes <= kCommitBytes && ops <= kCommitOps; }
// Nothing more is sent before one of those on the way has ended.
inline bool is_full(size_t on_the_way, size_t requests) {
  return on_the_way >= kMaxOnTheWay || requests >= kMaxRequests;
}

}  // namespace zabfs::fsd::bulk
