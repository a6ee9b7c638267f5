#include "fsd/history/when.h"

#include <fmt/format.h>
#include <time.h>

#include <charconv>
#include <chrono>

#include "fsd/view/control.h"

namespace zabfs::fsd {

namespace {

// Takes that many digits off the front.
bool take_number(std::string_view& text, size_t digits, int& number) {
  if (text.size() < digits) return false;
  auto [end, error] = std::from_chars(text.data(), text.data() + digits, number);
  if (error != std::errc() || end != text.data() + digits || text[0] == '-') return false;
  text.remove_prefix(digits);
  return true;
}

bool take(std::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// The fraction of a second, in ms.
bool take_fraction(std::string_view& text, int64_t& ms) {
  size_t digits = 0;
  int64_t scale = 100;
  for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
    ms += (text[digits] - '0') * scale;
    scale /= 10;
  }
  text.remove_prefix(digits);
  return digits > 0;
}

bool take_time_of_day(std::string_view& text, tm& time, int64_t& ms) {
  if (!take_number(text, 2, time.tm_hour) || !take(text, ':') || !take_number(text, 2, time.tm_min))
    return false;
  if (!take(text, ':')) return true;
  if (!take_number(text, 2, time.tm_sec)) return false;
  return !take(text, '.') || take_fraction(text, ms);
}

// `Z`, `+01:00`; nullopt behind a time without one, or with another ending.
std::optional<int64_t> offset_ms(std::string_view text) {
  if (text == "Z" || text == "z") return 0;
  int64_t sign = text.starts_with('+') ? 1 : text.starts_with('-') ? -1 : 0;
  int hours = 0, minutes = 0;
  if (sign == 0) return std::nullopt;
  text.remove_prefix(1);
  if (!take_number(text, 2, hours) || !take(text, ':') || !take_number(text, 2, minutes) ||
      !text.empty()) {
    return std::nullopt;
  }
  return sign * (hours * 60 + minutes) * 60'000;
}

bool is_in_bounds(const tm& time) {
  return time.tm_mon >= 0 && time.tm_mon < 12 && time.tm_mday >= 1 && time.tm_mday <= 31 &&
         time.tm_hour < 24 && time.tm_min < 60 && time.tm_sec <= 60;
}

std::optional<int64_t> date_ms(std::string_view text) {
  tm time = {};
  int64_t ms = 0;
  if (!take_number(text, 4, time.tm_year) || !take(text, '-') ||
      !take_number(text, 2, time.tm_mon) || !take(text, '-') ||
      !take_number(text, 2, time.tm_mday)) {
    return std::nullopt;
  }
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  bool has_time = take(text, 'T') || take(text, 't') || take(text, ' ');
  if (has_time && !take_time_of_day(text, time, ms)) return std::nullopt;
  if (!is_in_bounds(time)) return std::nullopt;
  if (text.empty()) {
    time.tm_isdst = -1;
    return ::mktime(&time) * 1'000 + ms;
  }
  std::optional<int64_t> offset = offset_ms(text);
  if (!has_time || !offset) return std::nullopt;
  return ::timegm(&time) * 1'000 + ms - *offset;
}

}  // namespace

std::optional<When> parse_when(std::string_view text, int64_t now_ms) {
  When when;
  if (text.starts_with("0x")) {
    int64_t value = 0;
    const char* end = text.data() + text.size();
    auto [last, error] = std::from_chars(text.data() + 2, end, value, 16);
    if (error != std::errc() || last != end || value <= 0) return std::nullopt;
    when.zxid = tree::Zxid{value};
    return when;
  }
  if (text.starts_with('-')) {
    int64_t ago = period_ms(text.substr(1));
    if (ago == 0) return std::nullopt;
    when.time_ms = now_ms - ago;
    return when;
  }
  std::optional<int64_t> time = date_ms(text);
  if (!time) return std::nullopt;
  when.time_ms = *time;
  return when;
}

int64_t wall_ms() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

std::string time_text(int64_t time_ms) {
  time_t seconds = time_ms / 1'000;
  tm time = {};
  ::gmtime_r(&seconds, &time);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", time.tm_year + 1900,
                     time.tm_mon + 1, time.tm_mday, time.tm_hour, time.tm_min, time.tm_sec,
                     time_ms % 1'000);
}

}  // namespace zabfs::fsd
