#include "consensus/troubles.h"

#include <utility>

namespace zabfs::consensus {

std::vector<std::string> Troubles::look(std::vector<std::string> now, int64_t now_ms) {
  next_look_ms_ = now_ms + kLookMs;
  std::vector<std::string> before = std::exchange(seen_, now);
  if (now != before || (now == told_ && now_ms < tell_again_ms_)) return {};
  told_ = now;
  tell_again_ms_ = now_ms + kTellAgainMs;
  return now;
}

bool Troubles::doubled(ServerId id, std::string text, int64_t now_ms) {
  auto [entry, is_new] = doubles_.try_emplace(id);
  Double& found = entry->second;
  bool is_told = is_new || now_ms - found.told_ms >= kDoubleTellMs;
  if (is_told) found.told_ms = now_ms;
  found.text = std::move(text);
  found.seen_ms = now_ms;
  return is_told;
}

std::vector<std::string> Troubles::doubles(int64_t now_ms) const {
  std::vector<std::string> texts;
  for (const auto& [id, found] : doubles_) {
    if (now_ms - found.seen_ms < kDoubleLastsMs) texts.push_back(found.text);
  }
  return texts;
}

bool Troubles::unproven(int64_t now_ms) {
  if (now_ms < next_unproven_ms_) return false;
  next_unproven_ms_ = now_ms + kTellAgainMs;
  return true;
}

}  // namespace zabfs::consensus
