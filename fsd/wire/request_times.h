// How long ZooKeeper's clients wait for answers, by kind of request: from when the request was
// taken from the socket's bytes until its answer was appended to what is sent.
//
// Threading: any thread, without a lock.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "consensus/histogram.h"
#include "tree/types.h"

namespace zabfs::fsd::wire {

class RequestTimes {
 public:
  struct Kind {
    const char* name;  // of the request, as in ZooKeeper's protocol
    bool is_read;      // it is answered from this node's tree
  };
  // The last one is for all that has no kind of its own.
  static constexpr std::array<Kind, 16> kKinds = {{{"create", false},
                                                   {"delete", false},
                                                   {"setData", false},
                                                   {"setACL", false},
                                                   {"multi", false},
                                                   {"sync", false},
                                                   {"reconfig", false},
                                                   {"closeSession", false},
                                                   {"exists", true},
                                                   {"getData", true},
                                                   {"getACL", true},
                                                   {"getChildren", true},
                                                   {"multiRead", true},
                                                   {"ping", true},
                                                   {"watches", true},
                                                   {"other", true}}};

  static size_t kind_of(tree::OpCode type) {
    int32_t code = static_cast<int32_t>(type) - kFirstCode;
    bool is_known = code >= 0 && static_cast<size_t>(code) < kKindOfCode.size();
    return is_known ? kKindOfCode[static_cast<size_t>(code)] : kKinds.size() - 1;
  }

  void note(tree::OpCode type, int64_t us, uint64_t count) {
    times_[kind_of(type)].note(us, count);
  }
  consensus::Durations of(size_t kind) const { return times_[kind].durations(); }
  void reset() {
    for (consensus::Histogram& times : times_) times.reset();
  }

 private:
  static constexpr int32_t kFirstCode = -11;
  static constexpr std::array<uint8_t, 128> kKindOfCode = [] {
    using tree::OpCode;
    std::array<uint8_t, 128> kinds = {};
    kinds.fill(kKinds.size() - 1);
    constexpr std::pair<OpCode, uint8_t> kKnown[] = {
        {OpCode::kCreate, 0},          {OpCode::kCreate2, 0},
        {OpCode::kCreateContainer, 0}, {OpCode::kCreateTtl, 0},
        {OpCode::kDelete, 1},          {OpCode::kDeleteContainer, 1},
        {OpCode::kSetData, 2},         {OpCode::kSetAcl, 3},
        {OpCode::kMulti, 4},           {OpCode::kSync, 5},
        {OpCode::kReconfig, 6},        {OpCode::kCloseSession, 7},
        {OpCode::kExists, 8},          {OpCode::kGetData, 9},
        {OpCode::kGetAcl, 10},         {OpCode::kGetChildren, 11},
        {OpCode::kGetChildren2, 11},   {OpCode::kGetAllChildrenNumber, 11},
        {OpCode::kGetEphemerals, 11},  {OpCode::kMultiRead, 12},
        {OpCode::kPing, 13},           {OpCode::kSetWatches, 14},
        {OpCode::kSetWatches2, 14},    {OpCode::kAddWatch, 14},
        {OpCode::kRemoveWatches, 14},  {OpCode::kCheckWatches, 14}};
    for (auto [type, kind] : kKnown) {
      kinds[static_cast<size_t>(static_cast<int32_t>(type) - kFirstCode)] = kind;
    }
    return kinds;
  }();

  std::array<consensus::Histogram, kKinds.size()> times_;
};

}  // namespace zabfs::fsd::wire
