#include "fsd/wire/in_buffer.h"

#include <utility>

#include "tree/jute.h"

namespace zabfs::fsd::wire {

namespace {

constexpr size_t kLengthBytes = sizeof(int32_t);

}  // namespace

std::optional<int32_t> InBuffer::next_length() const {
  if (left().size() < kLengthBytes) return std::nullopt;
  return tree::jute::Reader(left()).i32();
}

std::optional<InBuffer::Frame> InBuffer::take() {
  std::optional<int32_t> length = next_length();
  if (!length || *length < 0) return std::nullopt;
  auto size = static_cast<size_t>(*length);
  if (left().size() < kLengthBytes + size) return std::nullopt;
  Frame frame{left().substr(kLengthBytes, size), begin_};
  begin_ += kLengthBytes + size;
  return frame;
}

void InBuffer::discard_taken(size_t kept_bytes) {
  if (begin_ > 0) bytes_.erase(0, std::exchange(begin_, 0));
  if (bytes_.empty() && bytes_.capacity() > kept_bytes) bytes_.shrink_to_fit();
}

void InBuffer::clear() {
  bytes_ = std::string();
  begin_ = 0;
}

}  // namespace zabfs::fsd::wire
