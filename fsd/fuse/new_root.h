// The mode of a new tree's root.
//
// ZooKeeper gives everybody all permissions on the root. A tree that nothing was made in yet gets a
// root as a filesystem has it; a mode that a client or another mount has set by then stays. On the
// strand, but for `wait`.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>

#include "consensus/service.h"
#include "fsd/session/session.h"

namespace zabfs::fsd {

class NewRoot {
 public:
  NewRoot(consensus::Service& service, ClientSession& session, uint32_t mode)
      : service_(service), session_(session), mode_(mode) {}

  // Nothing is to be done if the tree, as far as this node has it, is in use already.
  void look();
  // This node serves: it knows whether the tree is new.
  void settle();
  // Until one of them has seen to it, or for that long. By the thread that starts the mount.
  void wait(std::chrono::milliseconds longest) { settled_.get_future().wait_for(longest); }

 private:
  void note_settled();

  consensus::Service& service_;
  ClientSession& session_;
  const uint32_t mode_;
  std::promise<void> settled_;
  bool is_settled_ = false;
  bool is_being_made_ = false;
};

}  // namespace zabfs::fsd
