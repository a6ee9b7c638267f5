// What a leader says to `zabfs import-zookeeper --live`, which anybody may have named. The first
// byte says in how large pieces it arrives.
#include "fsd/migrate/live_copy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using zabfs::migrate::LiveCopy;
  if (size == 0) return 0;
  size_t piece = size_t{data[0]} * 8 + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  LiveCopy copy(zabfs::tree::ServerId{int64_t{1} << 50});
  while (!rest.empty() && !copy.is_done()) {
    std::string_view now = rest.substr(0, piece);
    rest.remove_prefix(now.size());
    if (!copy.feed(now).ok()) return 0;
    static_cast<void>(copy.take_outgoing());
  }
  if (copy.is_done()) static_cast<void>(copy.finish());
  return 0;
}
