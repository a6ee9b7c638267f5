// The requests that this node has taken from its clients and its mount, and has not answered yet.
//
// A request comes in with `add`. Its completion goes out with the first of these that happens:
//   take_committed   its txn is applied
//   take_refused     the leader has refused it, and it will never be prepared
//   take_attaching   it is an attachment, and its leader is gone
//   take             the replica has failed it
// Each of them forgets the request in the same step. So no completion can go out twice. The class
// runs no completion itself: what runs may submit the next request at once.
//
// A txn carries the session and the cxid of its request, and so the node knows its own requests in
// the history that comes back to it. That decides what becomes of a request when its leader goes
// (ZAB.md section 4.4). Example:
//   1. This node sends a request to the leader. The leader fails.
//   2. The txn of the request may be in the log of some node, or in none.
//   3. The next leader has brought this node's log up to date. If the txn is in there, the request
//      only waits. If it is not, the request was lost, and this node sends it again.
//   4. But a snapshot has no cxids. If one has replaced the tree meanwhile, nobody can tell whether
//      the request has taken effect. Its fate is unknown. Sent again, it could take effect twice.
//
// Limits: the caller asks `has_room_for` before it adds. A request is sent at most kMaxSends times.
//
// Threading: an object of the strand. Pure: it sends nothing and knows no time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "consensus/completion.h"
#include "tree/request.h"
#include "tree/txn.h"

namespace zabfs::consensus {

using tree::SessionId;
using tree::Zxid;

class PendingRequests {
 public:
  // A request that so many leaders took and none brought to an end may be what ended them.
  static constexpr int kMaxSends = 8;

  using Number = uint64_t;                    // of a request, in order of submission
  using Key = std::pair<SessionId, int32_t>;  // session and cxid; no two requests have the same
  struct Decision {
    Number number;
    bool gives_up;  // false: the request is to be sent again
  };

  PendingRequests(size_t max_requests, size_t max_bytes)
      : max_requests_(max_requests), max_bytes_(max_bytes) {}

  size_t size() const { return requests_.size(); }
  size_t bytes() const { return bytes_; }  // of the requests' bodies
  bool has_room_for(const tree::Request& request) const;

  // With `at_once`, the answer is to be given as soon as the txn is in the tree (Replica::submit).
  Number add(tree::Request request, Completion done, bool at_once);
  // The request, which goes to the leader now; that is counted.
  const tree::Request& count_send(Number number);

  // nullopt in all of these: no such request waits. The completion itself may be empty.
  std::optional<Completion> take(Number number);
  // The request that this txn answers, if it was added with the same `at_once`.
  std::optional<Completion> take_committed(const tree::TxnHeader& header, bool at_once);
  // The request with this key, if it goes by this attachment of its session. Else what was refused
  // is an older request.
  std::optional<Completion> take_refused(Key key, Zxid attachment);
  // All that attach a session. Who waits for one does better to ask another server.
  std::vector<Completion> take_attaching();

  // None of them is ever answered.
  void drop();

  // From now on no txn can tell the fate of what was sent so far: a snapshot has taken the place of
  // the txns, or this node follows a Java leader.
  void lose_track();
  // A leader has brought this node up to date: what becomes of each request, in order of
  // submission. Those in `outstanding` are in the log and not committed; they wait, and are left
  // out.
  std::vector<Decision> decide(const std::set<Key>& outstanding) const;

 private:
  struct Pending {
    tree::Request request;
    Completion done;
    bool at_once = false;
    int times_sent = 0;
    bool fate_unknown = false;  // it may be part of a state that came without its txns
  };
  using Requests = std::map<Number, Pending>;

  Completion remove(Requests::iterator entry);

  const size_t max_requests_, max_bytes_;
  Requests requests_;
  std::map<Key, Number> by_key_;
  size_t bytes_ = 0;
  Number next_ = 1;
};

}  // namespace zabfs::consensus
