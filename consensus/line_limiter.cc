#include "consensus/line_limiter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace zabfs::consensus {

namespace {

constexpr const char* kOthers = "";  // the kind of what is too much

bool has_digit(std::string_view word) {
  return std::any_of(word.begin(), word.end(),
                     [](unsigned char c) { return std::isdigit(c) != 0; });
}

// Those with a digit are all the same.
std::string words_of(std::string_view text) {
  std::string words;
  while (!text.empty()) {
    std::string_view word = text.substr(0, text.find(' '));
    words += has_digit(word) ? "#" : word;
    words += ' ';
    text.remove_prefix(std::min(word.size() + 1, text.size()));
  }
  return words;
}

}  // namespace

std::string LineLimiter::kind_of(std::string_view text) {
  size_t first = text.find('"');
  size_t last = text.rfind('"');
  std::string kind = words_of(text.substr(0, first));
  if (last != first) kind += words_of(text.substr(last + 1));
  return kind;
}

std::vector<LineLimiter::Line> LineLimiter::note(LogLevel level, std::string text, int64_t now_ms) {
  std::vector<Line> lines = due(now_ms);
  std::string kind = kind_of(std::string_view(text).substr(0, kMaxTextBytes));
  if (!windows_.contains(kind) && windows_.size() >= kMaxKinds) kind = kOthers;
  auto [found, is_first] = windows_.try_emplace(std::move(kind));
  Window& window = found->second;
  if (is_first) {
    window = {now_ms, kFirstWindowMs, {}, 0};
    lines.push_back({level, std::move(text)});
  } else {
    ++window.count;
    if (text.size() > kMaxTextBytes) text = text.substr(0, kMaxTextBytes) + "...";
    window.latest = {level, std::move(text)};
  }
  return lines;
}

std::vector<LineLimiter::Line> LineLimiter::due(int64_t now_ms) {
  std::vector<Line> lines;
  std::erase_if(windows_, [now_ms](const auto& entry) {
    return entry.second.count == 0 && now_ms >= entry.second.end_ms();
  });
  for (auto& [kind, window] : windows_) {
    if (now_ms < window.end_ms()) continue;
    lines.push_back(told(window, now_ms));
    window.length_ms = std::min(window.length_ms * 2, kLongestWindowMs);
    window.began_ms = now_ms;
  }
  return lines;
}

int64_t LineLimiter::next_due_ms() const {
  int64_t next_ms = INT64_MAX;
  for (const auto& [kind, window] : windows_) next_ms = std::min(next_ms, window.end_ms());
  return next_ms;
}

std::vector<LineLimiter::Line> LineLimiter::rest(int64_t now_ms) {
  std::vector<Line> lines;
  for (auto& [kind, window] : windows_) {
    if (window.count > 0) lines.push_back(told(window, now_ms));
  }
  windows_.clear();
  return lines;
}

LineLimiter::Line LineLimiter::told(Window& window, int64_t now_ms) {
  Line line = std::move(window.latest);
  size_t more = std::exchange(window.count, 0) - 1;
  if (more > 0) {
    int64_t seconds = (now_ms - window.began_ms + 999) / 1'000;
    line.text += fmt::format(", and {} more like it in the last {} s", more, seconds);
  }
  return line;
}

}  // namespace zabfs::consensus
