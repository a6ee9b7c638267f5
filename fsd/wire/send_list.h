// The connections that something was appended to during a batch of the replica's. They are sent to
// once the batch is over, so that many answers go out with one system call.
//
// On the strand.
#pragma once

#include <utility>
#include <vector>

#include "fsd/wire/connection.h"

namespace zabfs::fsd::wire {

class SendList {
 public:
  void add(const ConnectionPtr& connection) {
    if (!std::exchange(connection->is_to_be_sent, true)) connections_.push_back(connection);
  }
  void send_all() {
    for (const ConnectionPtr& connection : std::exchange(connections_, {})) {
      connection->is_to_be_sent = false;
      connection->send();
    }
  }

 private:
  std::vector<ConnectionPtr> connections_;
};

}  // namespace zabfs::fsd::wire
