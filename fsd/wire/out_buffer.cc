#include "fsd/wire/out_buffer.h"

namespace zabfs::fsd::wire {

void OutBuffer::Bytes::tidy(size_t kept_bytes) {
  if (begin < bytes.size()) {
    // Moved to the front once in a while only: it may be long, and go in small pieces.
    if (begin >= bytes.size() / 2) bytes.erase(0, std::exchange(begin, 0));
    return;
  }
  bytes.clear();
  begin = 0;
  if (bytes.capacity() > kept_bytes) bytes.shrink_to_fit();
}

void OutBuffer::tidy(size_t kept_bytes) {
  plain_.tidy(kept_bytes);
  if (is_sealed_) sealed_.tidy(kept_bytes);
}

void OutBuffer::clear() {
  plain_ = Bytes();
  sealed_ = Bytes();
}

}  // namespace zabfs::fsd::wire
