// What a node's log holds, in outline: which zxids, not their bytes.
//
// Zxids of one epoch are contiguous from 1, and (epoch, counter) names one txn for good, so a table
// of epochs says exactly what is in a history. Pure value.
#pragma once

#include <cstdint>
#include <map>

#include "tree/types.h"

namespace zabfs::consensus {

using tree::Zxid;

class History {
 public:
  // A history that begins after `base`: a snapshot there stands for all before it.
  void reset(Zxid base);
  // Whether `zxid` may be appended.
  bool follows(Zxid zxid) const { return zxid.follows(last()); }
  void append(Zxid zxid);
  // Forgets everything after `zxid`, which is contained.
  void truncate(Zxid zxid);
  // The log up to `zxid` is gone from disk.
  void purge(Zxid zxid) { base_ = zxid; }

  // The zxid that the log continues from; nothing at or before it can be read back.
  Zxid base() const { return base_; }
  Zxid last() const;
  bool contains(Zxid zxid) const;
  // The last zxid here that is not after `zxid`; zero if the history begins after it.
  Zxid last_through(Zxid zxid) const;
  // Whether a snapshot at `zxid` is of this history, which goes on from there: one that isn't was
  // staged for a synchronisation that did not end, or is older than the log.
  bool goes_on_from(Zxid zxid) const { return zxid == base_ || (zxid > base_ && contains(zxid)); }
  // What comes after `zxid` here, which is the base or contained; zero at the end.
  Zxid next(Zxid zxid) const;
  // The last zxid of `epoch` here, or a zero Zxid if there is none.
  Zxid last_of_epoch(uint32_t epoch) const;

 private:
  Zxid base_;
  std::map<uint32_t, uint32_t> last_counter_;  // by epoch
};

}  // namespace zabfs::consensus
