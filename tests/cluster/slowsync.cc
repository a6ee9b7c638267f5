// Preloaded into a daemon, it makes each of the daemon's syncs take longer: by the milliseconds
// that stand in the file $SLOWSYNC as a binary int64, which may change while it runs.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

const volatile int64_t* map_delay() {
  const char* name = std::getenv("SLOWSYNC");
  int fd = name != nullptr ? ::open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) std::abort();
  void* place = ::mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (place == MAP_FAILED) std::abort();
  ::close(fd);
  return static_cast<const int64_t*>(place);
}

int sync_slowly(long call, int fd) {
  static const volatile int64_t* delay_ms = map_delay();
  timespec left{*delay_ms / 1000, *delay_ms % 1000 * 1'000'000};
  while (::nanosleep(&left, &left) != 0) {
  }
  return static_cast<int>(::syscall(call, fd));
}

}  // namespace

extern "C" int fdatasync(int fd) { return sync_slowly(SYS_fdatasync, fd); }
extern "C" int fsync(int fd) { return sync_slowly(SYS_fsync, fd); }
