#include "fsd/archive/stream_source.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>
#include <variant>

namespace zabfs::archive {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

bool is_within(std::string_view path, std::string_view top) {
  return top.empty() || path == top ||
         (path.starts_with(top) && path.size() > top.size() && path[top.size()] == '/');
}

}  // namespace

StreamSource::StreamSource(int fd, std::string name, std::string only)
    : fd_(fd), name_(std::move(name)), only_(std::move(only)), piece_(kReadBytes, '\0') {}

bool StreamSource::is_wanted(const std::string& path) const { return is_within(path, only_); }

bool StreamSource::leads_there(const std::string& path) const {
  return !path.empty() && path != only_ && is_within(only_, path);
}

// False at the end, too.
bool StreamSource::read_more(Status& status) {
  ssize_t size = -1;
  do {
    size = ::pread(fd_, piece_.data(), piece_.size(), static_cast<off_t>(read_));
  } while (size < 0 && errno == EINTR);
  if (size < 0) status = Status::failed(fmt::format("{}: {}", name_, std::strerror(errno)));
  if (size == 0 && !decoder_.has_ended()) status = Status::failed(name_ + ": it ended too early");
  if (size <= 0) return false;
  read_ += static_cast<uint64_t>(size);
  decoder_.feed(std::string_view(piece_).substr(0, static_cast<size_t>(size)));
  return true;
}

Source::Taken StreamSource::next() {
  while (true) {
    std::optional<transfer::Record> record = decoder_.next();
    if (!decoder_.status().ok()) return {decoder_.status(), {}};
    if (!record) {
      Status status;
      if (!read_more(status)) return {status, {}};
    } else if (const auto* header = std::get_if<transfer::Header>(&*record)) {
      total_ = static_cast<uint64_t>(header->bytes);
    } else if (const auto* left_out = std::get_if<transfer::LeftOut>(&*record)) {
      bool is_refused = left_out->why == transfer::Reason::kNoAccess ||
                        left_out->why == transfer::Reason::kSecrets;
      if (!is_refused || !is_wanted(left_out->path)) continue;
      if (refused_++ == 0) first_refused_ = left_out->path;
      has_found_ = true;
    } else if (auto* entry = std::get_if<Entry>(&*record)) {
      if (leads_there(entry->path)) {
        entry->part = Part::kImplied;
      } else if (!is_wanted(entry->path)) {
        continue;
      } else {
        has_found_ = true;
        ++entries_;
      }
      return {{}, std::move(*entry)};
    }
  }
}

}  // namespace zabfs::archive
