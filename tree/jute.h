// Jute, ZooKeeper's serialisation: big-endian integers, length-prefixed strings and buffers,
// counted vectors, records without tags (org.apache.jute.BinaryInput/OutputArchive).
//
// Reader never throws and never reads past its input: the first malformed field makes it bad, all
// later fields read as zero or empty, and the caller checks `ok()` once at the end.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

namespace zabfs::tree::jute {

template <class T>
T to_big_endian(T value) {
  if constexpr (sizeof(T) == 8) {
    return static_cast<T>(__builtin_bswap64(static_cast<uint64_t>(value)));
  } else {
    return static_cast<T>(__builtin_bswap32(static_cast<uint32_t>(value)));
  }
}

class Writer {
 public:
  explicit Writer(std::string& out) : out_(out) {}

  void byte(uint8_t value) { out_.push_back(static_cast<char>(value)); }
  void boolean(bool value) { byte(value ? 1 : 0); }
  void i32(int32_t value) { integer(value); }
  void i64(int64_t value) { integer(value); }
  void count(size_t n) { i32(static_cast<int32_t>(n)); }
  void string(std::string_view value) {
    count(value.size());
    out_.append(value);
  }
  void buffer(std::optional<std::string_view> value) {
    if (!value) return i32(-1);
    string(*value);
  }
  void raw(std::string_view bytes) { out_.append(bytes); }

 private:
  template <class T>
  void integer(T value) {
    T big = to_big_endian(value);
    out_.append(reinterpret_cast<const char*>(&big), sizeof(big));
  }
  std::string& out_;
};

class Reader {
 public:
  explicit Reader(std::string_view input) : rest_(input) {}

  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }
  bool done() const { return ok_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }
  void fail() {
    ok_ = false;
    rest_ = {};
  }

  uint8_t byte() {
    std::string_view bytes = take(1);
    return bytes.empty() ? 0 : static_cast<uint8_t>(bytes[0]);
  }
  bool boolean() { return byte() != 0; }
  int32_t i32() { return integer<int32_t>(); }
  int64_t i64() { return integer<int64_t>(); }

  // A string; null reads as empty.
  std::string_view string() { return buffer().value_or(std::string_view()); }

  // A buffer; nullopt is null.
  std::optional<std::string_view> buffer() {
    int32_t length = i32();
    if (!ok_ || length == -1) return std::nullopt;
    if (length < 0) {
      fail();
      return std::nullopt;
    }
    std::string_view bytes = take(static_cast<size_t>(length));
    if (!ok_) return std::nullopt;
    return bytes;
  }

  // A vector's count; null reads as 0. Each element takes at least `min_element_bytes`, so a count
  // that can't fit in what is left is malformed and nothing is reserved for it.
  size_t count(size_t min_element_bytes) {
    int32_t n = i32();
    if (!ok_ || n == -1) return 0;
    if (n < 0 || static_cast<size_t>(n) * min_element_bytes > rest_.size()) {
      fail();
      return 0;
    }
    return static_cast<size_t>(n);
  }

  std::string_view take(size_t n) {
    if (!ok_ || n > rest_.size()) {
      fail();
      return {};
    }
    std::string_view bytes = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return bytes;
  }

 private:
  template <class T>
  T integer() {
    std::string_view bytes = take(sizeof(T));
    if (bytes.empty()) return 0;
    T big;
    std::memcpy(&big, bytes.data(), sizeof(T));
    return to_big_endian(big);
  }

  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace zabfs::tree::jute
