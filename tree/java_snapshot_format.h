// The numbers of Apache ZooKeeper's snapshot files (FORMATS.md 6.4), for all who read or write one.
#pragma once

#include <cstdint>

namespace zabfs::tree {

inline constexpr int32_t kJavaSnapshotMagic = 0x5A4B534E;  // "ZKSN"
inline constexpr int32_t kJavaSnapshotVersion = 2;
inline constexpr int64_t kJavaDatabase = -1;
inline constexpr int32_t kJavaDigestVersion = 2;

}  // namespace zabfs::tree
