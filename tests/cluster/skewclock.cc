// Preloaded into a daemon, it sets the daemon's wall clock apart: by the seconds that stand in the
// file $SKEWCLOCK as a binary int64, which may change while it runs.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>

namespace {

const volatile int64_t* map_offset() {
  const char* name = std::getenv("SKEWCLOCK");
  int fd = name != nullptr ? ::open(name, O_RDONLY | O_CLOEXEC) : -1;
  if (fd < 0) std::abort();
  void* place = ::mmap(nullptr, sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (place == MAP_FAILED) std::abort();
  ::close(fd);
  return static_cast<const int64_t*>(place);
}

}  // namespace

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  static const volatile int64_t* offset = map_offset();
  long result = ::syscall(SYS_clock_gettime, clock, time);
  if (result == 0 && clock == CLOCK_REALTIME) time->tv_sec += *offset;
  return static_cast<int>(result);
}
