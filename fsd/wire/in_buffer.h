// The bytes of one client that have arrived and are not taken yet, cut into frames.
//
// A frame is a length of four bytes and as many bytes of a record. The thread that receives from
// the client puts bytes in at the end and takes frames off at the front. A frame that can't be
// served now is put back, and is taken again later.
//
// The caller compares `next_length` with its limit before it takes a frame. A frame that is too
// long, or that has a negative length, must never be waited for: its client would fill the memory.
//
// Limits: none of its own. The caller takes bytes only while the connection may take more.
//
// Threading: the thread that reads the connection alone. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace zabfs::fsd::wire {

class InBuffer {
 public:
  struct Frame {
    std::string_view record;  // valid until bytes come in or `discard_taken`
    size_t begin;             // of the frame; for `put_back`
  };

  void append(std::string_view bytes) { bytes_.append(bytes); }
  // For a decoder that appends by itself.
  std::string& bytes() { return bytes_; }

  // The bytes that are not taken.
  std::string_view left() const { return std::string_view(bytes_).substr(begin_); }
  // As the next frame says it, true or not; nullopt if not even that has arrived.
  std::optional<int32_t> next_length() const;
  // The next frame; nullopt if it is not there as a whole.
  std::optional<Frame> take();
  // The frame that began there, and all behind it, are to be taken again.
  void put_back(size_t begin) { begin_ = begin; }

  // Forgets the frames that were taken. If nothing is left, at most so much memory is kept.
  void discard_taken(size_t kept_bytes);
  void clear();
  size_t held_bytes() const { return bytes_.capacity(); }

 private:
  std::string bytes_;
  size_t begin_ = 0;  // of what is not taken
};

}  // namespace zabfs::fsd::wire
