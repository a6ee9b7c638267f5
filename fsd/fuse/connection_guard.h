// A process that ends the kernel's FUSE connection once the daemon has died.
//
// The kernel does that itself when the daemon's last descriptor of the device closes. But a thread
// that gives the kernel a notification may wait for a lock of the kernel, and meanwhile it can't
// die. Example:
//
//   1. A program creates d/a. The kernel holds the lock of d until the daemon answers.
//   2. Another node removed d/b. A thread of the daemon tells the kernel, and waits for that lock.
//   3. The daemon is killed by SIGKILL. All its threads end but that one, which keeps the device
//      open. So the kernel goes on to wait for the daemon's answer, and the program hangs.
//
// The guard hears that the daemon's main thread has ended, and aborts the connection: then every
// request of it is answered with an error, the lock is free, and the thread ends.
#pragma once

#include <sys/types.h>

#include <string>

#include "tree/status.h"

namespace zabfs::fsd {

inline constexpr const char* kGuardArgument = "--guard-connection";

class ConnectionGuard {
 public:
  ~ConnectionGuard() { stop(); }
  // Starts it for the FUSE filesystem that is mounted there. To be called by the thread whose end
  // is the daemon's end.
  Status start(const std::string& mount_point);
  // When the connection is no longer needed.
  void stop();

 private:
  pid_t process_ = 0;
};

// Its main: waits for the end of the thread that started it. `daemon` is that process.
int run_connection_guard(const char* daemon);

}  // namespace zabfs::fsd
