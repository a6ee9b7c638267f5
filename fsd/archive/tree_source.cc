#include "fsd/archive/tree_source.h"

#include <optional>
#include <variant>

namespace zabfs::archive {
namespace {

constexpr size_t kAtOnceBytes = size_t{1} << 20;

}  // namespace

TreeSource::TreeSource(const tree::Tree& tree, const std::string& path)
    : subtree_(tree, options_, root_, path) {}

Source::Taken TreeSource::next() {
  if (subtree_.is_too_large())
    return {Status::failed("it has too many entries for one import"), {}};
  while (true) {
    std::optional<transfer::Record> record = decoder_.next();
    if (!decoder_.status().ok()) return {decoder_.status(), {}};
    if (!record) {
      std::string piece = subtree_.read(read_, kAtOnceBytes);
      if (piece.empty()) return {};
      read_ += piece.size();
      decoder_.feed(piece);
    } else if (auto* entry = std::get_if<Entry>(&*record)) {
      return {{}, std::move(*entry)};
    } else if (const auto* header = std::get_if<transfer::Header>(&*record)) {
      total_ = static_cast<uint64_t>(header->bytes);
    } else if (std::holds_alternative<transfer::LeftOut>(*record)) {
      ++left_out_;
    }
  }
}

}  // namespace zabfs::archive
