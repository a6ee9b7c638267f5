#include "tree/quota.h"

#include <charconv>

#include "tree/path.h"

namespace zabfs::tree {

QuotaTrack QuotaTrack::parse(std::string_view text) {
  QuotaTrack track;
  while (!text.empty()) {
    size_t end = text.find_first_of(",;");
    std::string_view part = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    size_t equals = part.find('=');
    if (equals == std::string_view::npos) continue;
    std::string_view name = part.substr(0, equals), digits = part.substr(equals + 1);
    int64_t value = -1;
    const char* stop = digits.data() + digits.size();
    auto [last, error] = std::from_chars(digits.data(), stop, value);
    if (error != std::errc() || (last != stop && *last != '=')) continue;
    if (name == "count") track.count = value;
    if (name == "bytes") track.bytes = value;
    if (name == "countHardLimit") track.hard_count = value;
    if (name == "byteHardLimit") track.hard_bytes = value;
  }
  return track;
}

std::string QuotaTrack::text() const {
  std::string text = "count=" + std::to_string(count) + ",bytes=" + std::to_string(bytes);
  std::string hard;
  if (hard_bytes != -1) hard += ";byteHardLimit=" + std::to_string(hard_bytes);
  if (hard_count != -1) hard += ";countHardLimit=" + std::to_string(hard_count);
  return hard.empty() ? text : text + "=" + hard;  // the stray = is Java's
}

std::string quota_znode(std::string_view path, std::string_view name) {
  std::string parent(kQuotaRoot);
  if (path != "/") parent += path;
  return join_path(parent, name);
}

std::string_view quota_subject(std::string_view quota_parent) {
  if (quota_parent == kQuotaRoot) return quota_parent;
  return quota_parent.substr(kQuotaRoot.size());
}

}  // namespace zabfs::tree
