// The files of the control room `@`: their names, and who may open them (DESIGN.md, "The control
// room").
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace zabfs::fsd {

enum class Control {
  kNone,  // a znode
  kRoom,  // the directory @ itself
  kHelp,
  kHolders,
  kData,
  kStat,
  kAcl,
  kWatch,
  kWatchAll,
  kLock,
  kReadWriteLock,
  kSemaphores,  // the directory @/semaphore
  kSemaphore,   // @/semaphore/N
  kLeader,
  kNext,
  kSeq,  // the directory @/seq
  kSeqFile,
  kEphemeral,  // the directory @/ephemeral
  kEphemeralFile,
  kQueue,
  kWork,
  kOnce,        // the directory @/once
  kOnceName,    // the directory @/once/NAME
  kOncePeriod,  // @/once/NAME/PERIOD
  kBarriers,    // the directory @/barrier
  kBarrier,     // @/barrier/N
  kCounter,
  kRing,  // the directory @/ring
  kRingKey,
  kPick,
  kTxn,          // the directory @/txn; what is in it are znodes
  kHistory,      // the directory @/history
  kHistoryName,  // the directory @/history/NAME
  kVersion,      // @/history/NAME/ZXID
  kAt,           // the directory @/at
  kPast,         // @/at/WHEN and what is below it
  kChanges,
  kExport,
  kImport,
  kCluster,
  kHealth,
  kLogLevel,
  kMembers,
  kMetrics,
  kSnapshot,
  kHandles,
};

// The file of that name in a room; kNone if there is none.
Control control_named(std::string_view name, bool is_root);
// The file of that name in one of a room's directories, without a look at the tree; kNone if the
// name can't be one.
Control member_named(Control directory, std::string_view name);
std::string control_name(Control control);
// What `ls @` lists.
std::vector<std::string> room_names(bool is_root);
bool is_control_directory(Control control);
// Whether it is a part of the past, and what is in it, too: nothing in there can be changed.
bool is_of_the_past(Control control);
// The mode of a control file, class by class, from its directory's.
uint32_t control_mode(Control control, uint32_t directory);
// Whether writing to it means anything.
bool can_write(Control control);
// Whether something is held by it, or lost with the session.
bool has_deadline(Control control);

// A time as in `once/NAME/12h`, in ms; 0 if the name is none. N and s, m, h or d, up to ten years.
int64_t period_ms(std::string_view name);

// A number of leases or of parties, as in `semaphore/N`; 0 if the name is none.
inline constexpr int32_t kMaxParties = 1'000'000;
int32_t parties(std::string_view name);

}  // namespace zabfs::fsd
