// Bugs that other implementations had, to be put back on purpose: each row of ZAB.md section 2 has
// a place in the code where the rule that forbids it is kept, and there the simulator can break it.
//
// Only the simulator is built with ZABFS_MUTANTS; everywhere else `is_mutant` is a constant false.
#pragma once

namespace zabfs::consensus {

enum class Mutant {
  kNone,
  kMemoryOutlivesRole,      // 2845 2355
  kAckBeforeSync,           // 3911 3023 4646 4785
  kEpochBeforeHistory,      // 4643
  kOutstandingLost,         // 4394
  kAcksUnordered,           // 4685
  kWritesOutliveRole,       // 4541 4712
  kNewLeaderFirst,          // 3104
  kSnapshotAheadOfDisk,     // 3642 2872 5094
  kFailedSyncRetried,       // 4882
  kGapAccepted,             // 4925
  kDiffOverGap,             // 2099 2418 4352 3526
  kTruncForgotten,          // 3701
  kEmptyNodeVotes,          // 2325 3231
  kFuzzySnapshot,           // 3127 3144 3145 3249
  kGroupWithoutEndRefused,  // 1653, the startup check
  kSnapshotUnsynced,        // TRUNC path
  kBarrierWithoutQuorum,    // sync as ZooKeeper has it (ZAB.md section 4)
  kOldQuorumOnly,           // a reconfiguration needs both (ZAB.md section 6)
  kLateRequestsPrepared,    // a request of a session that has moved
  kSlowSyncEnds,            // a synchronisation that goes on ends with initLimit
  kLogQueueUnbounded,       // a disk that is slower than the network fills memory
  kPromiseUnsaved,          // an epoch is promised before the promise is on the disk
  kSecondPromiseCounted,    // one promise counts for two leaders of the same epoch
  kLongerHistoryIgnored,    // a leader goes on although a follower's history is longer
  kOldPingProves,           // an answer from before the question proves a leadership
  kNoTrunc,                 // 1154
  kCounterRunsOver,         // 1277
  kUncommittedApplied,      // 1549
  kTxnUnbounded,            // 2101
  kSnapKeepsLog,            // 2832
  kEnsembleRenumbered,      // any leader without a number for its ensemble makes one up
};
inline constexpr int kMutants = static_cast<int>(Mutant::kEnsembleRenumbered) + 1;

#ifdef ZABFS_MUTANTS
inline Mutant active_mutant = Mutant::kNone;  // set before anything runs
inline bool is_mutant(Mutant mutant) { return active_mutant == mutant; }
#else
constexpr bool is_mutant(Mutant) { return false; }
#endif

}  // namespace zabfs::consensus
