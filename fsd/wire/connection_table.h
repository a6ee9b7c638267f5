// All connections of the client port, and the limits to their number.
//
// Each connection holds a file descriptor, and the node needs some for itself. So there are at most
// as many connections as the node can spare, or as maxCnxns says, and at most maxClientCnxns from
// one address. A connection is silent until its client has said a word. Silent connections cost a
// stranger nothing, so they give way:
//
//   - When there is no room for one more connection, the oldest silent one is closed for it, if it
//     has been silent for kSilentTime. If there is no such one, the new one is refused.
//   - When a quarter of the room is silent connections, the oldest of them is closed in any case.
//
// The table closes nothing: it says which connection is to be closed.
//
// Thread-safe. Nothing is locked under the table's mutex, `make` included.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/wire/connection.h"

namespace zabfs::fsd::wire {

// How many connections there may be: as many as `configured` (0: any number), and no more than this
// process has file descriptors for.
size_t most_connections(size_t configured);

class ConnectionTable {
 public:
  struct Limits {
    size_t per_address = 0;  // 0: any number
    size_t all = 0;
  };
  enum class Verdict { kAdmitted, kTooManyFromAddress, kTooManyInAll };
  struct Admission {
    Verdict verdict = Verdict::kAdmitted;
    ConnectionPtr connection;  // null: refused
    ConnectionPtr displaced;   // a silent one, to be closed; it stays in the table until `erase`
  };
  // Makes the connection; it is given this number.
  using Make = std::function<ConnectionPtr(uint64_t number)>;

  static constexpr auto kSilentTime = std::chrono::seconds(1);

  explicit ConnectionTable(Limits limits) : limits_(limits) {}
  const Limits& limits() const { return limits_; }

  Admission admit(const std::string& address, Clock::time_point now, const Make& make)
      EXCLUDES(mutex_);
  // Its client has said a word.
  void spoke(uint64_t number) EXCLUDES(mutex_);
  // False: it is not there any more.
  bool erase(const Connection& connection) EXCLUDES(mutex_);

  ConnectionPtr find(uint64_t number) const EXCLUDES(mutex_);
  std::vector<ConnectionPtr> all() const EXCLUDES(mutex_);
  size_t size() const EXCLUDES(mutex_);

 private:
  const Limits limits_;
  mutable Mutex mutex_;
  std::unordered_map<uint64_t, ConnectionPtr> connections_ GUARDED_BY(mutex_);
  std::map<std::string, size_t> per_address_ GUARDED_BY(mutex_);
  std::map<uint64_t, ConnectionPtr> silent_ GUARDED_BY(mutex_);  // the oldest first
  uint64_t next_ GUARDED_BY(mutex_) = 1;
};

}  // namespace zabfs::fsd::wire
