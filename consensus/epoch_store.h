// What this node has promised, on disk: the accepted epoch, and whether it may vote at all
// (ZAB.md section 3). The current epoch is in the log.
//
// `accepted.0` and `accepted.1` hold the same record; `save` writes and syncs one after the other
// and only then is the promise made. So one damaged copy, torn or rotten, never hides a promise:
// the other has it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "consensus/disk.h"

namespace zabfs::consensus {

struct Promise {
  uint32_t accepted_epoch = 0;
  // Whether this node's history and promises are whole. Without it a node neither votes nor counts.
  bool votes = false;
  // ZabState::ensemble; none keeps what was saved before.
  std::optional<int64_t> ensemble = std::nullopt;
  // ZabState::secret; empty keeps what was saved before.
  std::string secret = {};
};

class EpochStore {
 public:
  enum class State {
    kNew,     // nothing was ever promised here
    kIntact,  // `promise` is what was
    kLost,    // both copies are damaged
  };

  explicit EpochStore(Disk& disk) : disk_(disk) {}
  struct Opened {
    State state;
    std::string problem;  // names a damaged copy; empty: there is none
  };
  Opened open();
  const Promise& promise() const { return promise_; }
  // A promise is never taken back: the accepted epoch only rises.
  DiskStatus save(Promise promise);

 private:
  struct Slot {
    bool present = false, whole = false, cut_short = false;
    uint64_t sequence = 0;
    Promise promise;
  };
  Slot read(int number);

  Disk& disk_;
  uint64_t sequence_ = 0;
  bool both_exist_ = false;
  Promise promise_;
};

}  // namespace zabfs::consensus
