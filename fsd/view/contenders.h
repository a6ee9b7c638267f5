// Znodes that stand for somebody: contenders of locks, elections, semaphores and barriers, as
// Curator, kazoo and we name them. Pure functions of names and data.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tree/tree.h"

namespace zabfs::fsd {

std::string uuid_of(uint64_t random_high, uint64_t random_low);
// Of two numbers of `random`. The first is the high half, with every compiler: in the simulator a
// seed names the same contenders everywhere.
std::string uuid_from(const std::function<uint64_t()>& random);
bool is_uuid(std::string_view name);
// The ten digits that a sequential znode's name ends in.
std::optional<int64_t> sequence_of(std::string_view name);

bool is_mutex_contender(std::string_view name);       // Curator's InterProcessMutex, kazoo's Lock
bool is_read_write_contender(std::string_view name);  // InterProcessReadWriteLock
bool is_reader(std::string_view name);                // one of those that share it
bool is_latch_contender(std::string_view name);       // LeaderLatch
bool is_lease(std::string_view name);                 // a lease of InterProcessSemaphoreV2
bool is_queue_item(std::string_view name);            // SimpleDistributedQueue
bool is_barrier_member(const tree::ZNode& node);      // DistributedDoubleBarrier

// A live contender by any of these recipes: an ephemeral of such a name.
bool is_contender(const tree::ZNode& node);

// A contender that mounts do not list, as they do not list `@`: to `cp -r`, globs and `git add` it
// would be a file that comes and goes. Of a barrier's members these are the mounts' own: others
// name the ephemerals of their services by a UUID, too.
bool is_unlisted(const tree::ZNode& node);
// The same of an ephemeral that is not there yet or no more.
bool is_unlisted(std::string_view name, std::string_view data);

// Whether a listing of its directory shows it: it is neither the hidden child nor unlisted.
bool is_listed(const tree::ZNode& node);

// A listing has no longer names: for one such name many kernels fail it as a whole (FUSE_NAME_MAX).
inline constexpr size_t kMaxListedNameBytes = 1'024;

// Whether all that a directory has, the hidden child aside, is unlisted; of nothing: false. One
// with very many children is not looked through.
bool has_only_unlisted(const tree::Tree& tree, const tree::ZNode& directory);

inline constexpr std::string_view kSemaphoreLocks = "locks";    // under the semaphore's directory
inline constexpr std::string_view kSemaphoreLeases = "leases";  // the same
inline constexpr std::string_view kBarrierReady = "ready";

}  // namespace zabfs::fsd
