// What a znode's entry in a snapshot is made of, for all who write or read such entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "tree/jute.h"
#include "tree/types.h"
#include "tree/znode.h"

namespace zabfs::tree {

// No element of a snapshot is longer: a path, data and a Stat.
inline constexpr size_t kMaxElementBytes = 2 * (kMaxRequestBytes + 1024);

void write_node_stat(jute::Writer& out, const NodeStat& stat);  // 60 bytes
NodeStat read_node_stat(jute::Reader& in);

// ZooKeeper's stream has no room for the attachments of sessions. They travel as ACLs that no znode
// has, under ids that no ACL has: Java drops those after loading (ReferenceCountedACLCache). An
// entry is a session, its attachment and, if that is known, where it is, in hexadecimal; and `s` if
// its client has a password that was made with the ensemble's secret.
inline constexpr int64_t kFirstAttachmentsId = -2;  // and down from there

// A block of times: this string, a count, and for each its znode's place in the stream (the root's
// is 0) and its times.
inline constexpr std::string_view kTimesMark = "zabfs-times";
inline constexpr size_t kTimesInBlock = 10'000;

}  // namespace zabfs::tree
