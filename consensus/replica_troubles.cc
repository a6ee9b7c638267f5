// The replica's part that says what is amiss, in the log and to whoever asks.
#include <fmt/format.h>

#include <utility>

#include "consensus/replica.h"

namespace zabfs::consensus {

namespace {

constexpr int64_t kTroubleMs = 3'000;  // what is amiss for so long is told
constexpr int64_t kTellAgainMs = 60'000;
constexpr int64_t kDoubleTellMs = 10'000;
constexpr int64_t kDoubleLastsMs = 60'000;

}  // namespace

void Replica::on_double(ServerId id, std::string text) {
  int64_t now_ms = environment_.now_ms();
  auto [place, is_new] = doubles_.try_emplace(id, Double{"", 0, 0});
  Double& found = place->second;
  if (is_new || now_ms - found.told_ms >= kDoubleTellMs) {
    environment_.log(LogLevel::kWarning, fmt::format("{}: {}", this->place(), text));
    found.told_ms = now_ms;
  }
  found.text = std::move(text);
  found.seen_ms = now_ms;
}

std::vector<std::string> Replica::troubles() const {
  int64_t now_ms = environment_.now_ms();
  std::vector<std::string> all = sentences(zab_->waiting(now_ms));
  if (!divergence_.empty()) all.push_back(divergence_ + "; it is to take over the others' data");
  if (!zab_->join_trouble().empty()) all.push_back(zab_->join_trouble());
  for (const auto& [id, found] : doubles_) {
    if (now_ms - found.seen_ms < kDoubleLastsMs) all.push_back(found.text);
  }
  return all;
}

// What lasts is told, and told again when it is something else or much later.
void Replica::tell_troubles() {
  int64_t now_ms = environment_.now_ms();
  next_look_ms_ = now_ms + kTroubleMs;
  std::vector<std::string> now = sentences(zab_->waiting(now_ms));
  std::vector<std::string> before = std::exchange(seen_, now);
  if (now != before || (now == told_ && now_ms < tell_again_ms_)) return;
  told_ = now;
  tell_again_ms_ = now_ms + kTellAgainMs;
  for (const std::string& text : now) {
    environment_.log(LogLevel::kWarning, fmt::format("{}: {}", place(), text));
  }
}

}  // namespace zabfs::consensus
