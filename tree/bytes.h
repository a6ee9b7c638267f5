// A znode's data: immutable, shared by reference count, and nullable as ZooKeeper's is.
//
// Readers keep a copy (one pointer) while writers replace the znode's; nobody copies the bytes.
// Thread-safe as shared_ptr is: distinct Bytes objects may be used from distinct threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace zabfs::tree {

class Bytes {
 public:
  Bytes() = default;  // null
  explicit Bytes(std::string_view bytes) : block_(make(bytes)) {}
  Bytes(const Bytes& other) : block_(other.block_) {
    if (block_ != nullptr) block_->references.fetch_add(1, std::memory_order_relaxed);
  }
  Bytes(Bytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Bytes& operator=(Bytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Bytes() {
    if (block_ != nullptr && block_->references.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::free(block_);
    }
  }

  bool is_null() const { return block_ == nullptr; }
  size_t size() const { return block_ == nullptr ? 0 : block_->size; }
  std::string_view view() const {
    if (block_ == nullptr) return {};
    return {reinterpret_cast<const char*>(block_ + 1), block_->size};
  }

 private:
  struct Block {
    std::atomic<uint32_t> references;
    uint32_t size;
  };
  static Block* make(std::string_view bytes) {
    void* memory = std::malloc(sizeof(Block) + bytes.size());
    if (memory == nullptr) throw std::bad_alloc();
    auto* block = new (memory) Block{{1}, static_cast<uint32_t>(bytes.size())};
    if (!bytes.empty()) std::memcpy(static_cast<void*>(block + 1), bytes.data(), bytes.size());
    return block;
  }

  Block* block_ = nullptr;
};

}  // namespace zabfs::tree
