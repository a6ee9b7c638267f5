// The output of one connection: answers and events, from the moment they are made until the socket
// has taken them.
//
// Answers are appended to `plain`. Without TLS the socket takes these bytes. With TLS the bytes
// become records first (`seal`), and the socket takes those. A plain byte is in one of the two
// places, never in both.
//
//     append -> plain ----------------> next -> sent
//     append -> plain -> seal, sealed -> next -> sent      with TLS
//
// Limits: none of its own. `unsent` is what a client that doesn't read leaves here; the rules for
// that are in request_queue.h and connection_state.h.
//
// Threading: under its connection's mutex. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace zabfs::fsd::wire {

class OutBuffer {
 public:
  // With `is_sealed`, `seal` is called before `next`.
  explicit OutBuffer(bool is_sealed = false) : is_sealed_(is_sealed) {}

  // For encoders, which append.
  std::string& plain() { return plain_.bytes; }

  // Makes records of all plain bytes: `encode(std::string_view plain, std::string& records)` takes
  // them, and appends. Called without plain bytes as well: TLS has something of its own to say.
  template <class Encode>
  void seal(const Encode& encode) {
    encode(plain_.left(), sealed_.bytes);
    plain_.bytes.clear();
    plain_.begin = 0;
  }

  // The bytes for the socket to take next. Empty: all was sent.
  std::string_view next() const { return is_sealed_ ? sealed_.left() : plain_.left(); }
  void sent(size_t bytes) { (is_sealed_ ? sealed_ : plain_).begin += bytes; }
  // The socket takes no more now, or all was sent. Gives memory back: what was sent, or what is
  // more than `kept_bytes` in a buffer that is empty.
  void tidy(size_t kept_bytes);
  void clear();

  size_t unsent() const { return plain_.left().size() + sealed_.left().size(); }
  size_t held_bytes() const { return plain_.bytes.capacity() + sealed_.bytes.capacity(); }

 private:
  struct Bytes {
    std::string bytes;
    size_t begin = 0;  // of what is left
    std::string_view left() const { return std::string_view(bytes).substr(begin); }
    void tidy(size_t kept_bytes);
  };

  const bool is_sealed_;
  Bytes plain_, sealed_;
};

}  // namespace zabfs::fsd::wire
