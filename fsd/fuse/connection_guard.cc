#include "fsd/fuse/connection_guard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fsd/beneath.h"

namespace zabfs::fsd {

namespace {

constexpr int kAbortFile = 3;  // its descriptor in the guard
constexpr int kDaemonEnded = SIGUSR1;

// The number that the kernel gives a connection; 0 and errno if it can't be had. The daemon does
// not serve yet: so nothing may be asked that the kernel does not know.
unsigned connection_of(const std::string& mount_point) {
  struct statx found = {};
  if (::statx(AT_FDCWD, mount_point.c_str(), AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW, 0, &found) !=
      0) {
    return 0;
  }
  return found.stx_dev_minor;
}

// The filesystem that lists connections, if it is not mounted where it should be, or can't be
// written to there. This mount of it has no place, and is gone with its descriptor.
Descriptor mount_connections() {
  Descriptor context(::fsopen("fusectl", FSOPEN_CLOEXEC));
  if (!context) return Descriptor();
  if (::fsconfig(context.get(), FSCONFIG_CMD_CREATE, nullptr, nullptr, 0) != 0) return Descriptor();
  return Descriptor(::fsmount(context.get(), FSMOUNT_CLOEXEC, 0));
}

// What is written to that file ends the connection.
Descriptor open_abort_file(unsigned connection) {
  std::string name = fmt::format("{}/abort", connection);
  Descriptor file(
      ::open(("/sys/fs/fuse/connections/" + name).c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (file) return file;
  Descriptor connections = mount_connections();
  if (!connections) return Descriptor();
  return Descriptor(::openat(connections.get(), name.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
}

}  // namespace

Status ConnectionGuard::start(const std::string& mount_point) {
  Descriptor abort_file;
  if (unsigned connection = connection_of(mount_point)) abort_file = open_abort_file(connection);
  if (!abort_file) return Status::failed(std::strerror(errno));
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, abort_file.get(), kAbortFile);
  posix_spawn_file_actions_addclosefrom_np(&actions, kAbortFile + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t all;
  sigfillset(&all);  // whoever stops the daemon and all its children does not stop this one first
  posix_spawnattr_setsigmask(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  ::signal(SIGCHLD, SIG_DFL);  // else nobody could wait for it
  std::string name = "zabfsd", argument = kGuardArgument, daemon = std::to_string(::getpid());
  char* argv[] = {name.data(), argument.data(), daemon.data(), nullptr};
  int error = ::posix_spawn(&process_, "/proc/self/exe", &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error == 0) return {};
  process_ = 0;
  return Status::failed(std::strerror(error));
}

void ConnectionGuard::stop() {
  if (process_ == 0) return;
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
  process_ = 0;
}

int run_connection_guard(const char* daemon) {
  ::prctl(PR_SET_NAME, "zabfs-guard");
  // The kernel sends it when the thread ends that started this process, not only when all threads
  // of the daemon have ended.
  ::prctl(PR_SET_PDEATHSIG, kDaemonEnded);
  bool is_alive = std::to_string(::getppid()) == daemon;
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, kDaemonEnded);
  for (int signal = 0; is_alive && signal != kDaemonEnded;) ::sigwait(&ended, &signal);
  return ::write(kAbortFile, "1", 1) == 1 ? 0 : 1;
}

}  // namespace zabfs::fsd
