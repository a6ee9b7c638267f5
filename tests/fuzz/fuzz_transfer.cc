// The stream that a user writes to @/import, and what zabfs reads of @/export. The first byte says
// in how large pieces it arrives.
#include "fsd/transfer/record.h"

using namespace zabfs::transfer;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t piece = size_t{data[0]} + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  Decoder decoder(10'000);
  while (!rest.empty()) {
    std::string_view now = rest.substr(0, piece);
    rest.remove_prefix(now.size());
    decoder.feed(now);
    while (std::optional<Record> record = decoder.next()) {
      std::string bytes;
      encode(*record, bytes);
      const Entry* entry = std::get_if<Entry>(&*record);
      if (entry == nullptr) continue;
      bool leads_out = entry->path.starts_with('/') || entry->path == ".." ||
                       entry->path.starts_with("../") ||
                       entry->path.find("/../") != std::string::npos;
      if (leads_out || !check(*entry).ok()) __builtin_trap();
      static_cast<void>(parse_acl_lines(acl_lines(entry->acl)));
      static_cast<void>(printable(entry->path));
    }
  }
  return 0;
}
