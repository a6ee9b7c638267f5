// Backups. The first byte says whether what follows is a file, or the content of one: the checksum
// of a file lets hardly anything through to what reads the content.
#include "fsd/backup/reader.h"

using namespace zabfs::backup;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr uint64_t kMaxBytes = 64u << 20;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] % 2 == 0) {
    auto source = [&bytes]() -> zabfs::StatusOr<std::string_view> {
      return std::exchange(bytes, std::string_view());
    };
    static_cast<void>(read_backup(source, kMaxBytes));
    return 0;
  }
  ContentReader reader(kMaxBytes);
  size_t piece = 1 + size_t{data[0]};
  for (bool is_good = true; is_good && !bytes.empty();) {
    std::string_view next = bytes.substr(0, piece);
    bytes.remove_prefix(next.size());
    is_good = reader.feed(next).ok();
    if (is_good && bytes.empty()) static_cast<void>(reader.finish());
  }
  return 0;
}
