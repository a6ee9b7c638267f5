// The names of points of time in `@/at/` and for `zabfs log --since`.
//
//   0x500000012                         a zxid
//   2026-11-30T04:15:00Z, ...+01:00     RFC 3339, with fractions of a second or without
//   2026-11-30T04:15[:SS], 2026-11-30   the same by this machine's clock
//   -90s, -2h, -7d                      so long ago: s, m, h or d
//
// Pure, but for the clock and the time zone of the machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tree/types.h"

namespace zabfs::fsd {

struct When {
  std::optional<tree::Zxid> zxid;
  int64_t time_ms = 0;  // since 1970, if it is no zxid
};
// nullopt: it is none of these.
std::optional<When> parse_when(std::string_view text, int64_t now_ms);
// Since 1970, by this machine's clock.
int64_t wall_ms();
// RFC 3339, in UTC.
std::string time_text(int64_t time_ms);

}  // namespace zabfs::fsd
