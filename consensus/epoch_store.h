// The accepted epoch on disk: `accepted.0` and `accepted.1`, written in turn, each checksummed and
// numbered, so that one of them is always whole. (The current epoch is in the log.)
#pragma once

#include <cstdint>
#include <string>

#include "consensus/disk.h"

namespace zabfs::consensus {

class EpochStore {
 public:
  explicit EpochStore(Disk& disk) : disk_(disk) {}
  // An empty string, or what is wrong.
  std::string open();
  uint32_t accepted() const { return accepted_; }
  DiskStatus save(uint32_t accepted);

 private:
  Disk& disk_;
  uint64_t sequence_ = 0;
  uint32_t accepted_ = 0;
};

}  // namespace zabfs::consensus
