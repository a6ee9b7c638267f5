// What systemd is told of the daemon, by sd_notify(3): that it is ready, what it waits for, that it
// still works. Nothing is told where systemd did not start it.
//
// The daemon is ready once it is mounted and serves: a replica that has a quorum. The watchdog is
// told that the daemon works if its strand does: each look leaves an event there, and the next look
// tells what came back. So a strand that stands still is not covered by a thread that does not.
//
// One thread owns it, the main thread. The strand only fills in an answer.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "consensus/replica.h"
#include "consensus/service.h"

namespace zabfs::fsd {

// One line: role, epoch, zxid, quorum, and the first thing that is amiss. On the strand.
std::string status_line(const consensus::Replica& replica);

class Systemd {
 public:
  explicit Systemd(consensus::Service& service);

  bool is_there() const { return is_there_; }
  // How long to wait between two looks.
  std::chrono::milliseconds look_every() const;
  // To be called once it is mounted, and from then on in that interval.
  void look();
  void stopping();

 private:
  struct Answer;  // of the strand

  consensus::Service& service_;
  bool is_there_;
  std::chrono::milliseconds watchdog_{0};  // 0: none
  bool is_ready_ = false;
  std::string told_;
  std::shared_ptr<Answer> answer_;
};

}  // namespace zabfs::fsd
