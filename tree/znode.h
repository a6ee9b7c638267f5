// One znode, as compactly as a million of them ask for, and the parts it is made of.
//
// Znodes live in the tree's slab and name each other by NodeId (32 bits), not by pointer. A znode
// is changed only by Tree::apply and snapshot loading; everyone else sees const.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

#include "tree/acl.h"
#include "tree/bytes.h"
#include "tree/types.h"

namespace zabfs::tree {

using NodeId = uint32_t;
inline constexpr NodeId kNoNodeId = 0xffffffff;

// ZooKeeper's StatPersisted. `cversion` is the stored form: it counts creations of children.
struct NodeStat {
  Zxid czxid, mzxid, pzxid;
  int64_t ctime_ms = 0, mtime_ms = 0;
  int64_t owner = 0;  // stored form of ephemeralOwner: a session, kContainerOwner, or a TTL
  int32_t version = 0, cversion = 0, aversion = 0;
};

inline constexpr int64_t kContainerOwner = INT64_MIN;
enum class OwnerKind { kPersistent, kEphemeral, kContainer, kTtl };
OwnerKind owner_kind(int64_t owner);
inline constexpr int64_t kMaxTtlMs = 0xFFFFFFFFFF;
int64_t ttl_owner(int64_t ttl_ms);
int64_t owner_ttl_ms(int64_t owner);

// What clients get (zookeeper-formats.md 1.6, 1.10).
struct Stat {
  Zxid czxid, mzxid;
  int64_t ctime_ms = 0, mtime_ms = 0;
  int32_t version = 0, cversion = 0, aversion = 0;
  int64_t ephemeral_owner = 0;
  int32_t data_length = 0, num_children = 0;
  Zxid pzxid;
};

// A name of 0 to 65,535 bytes in 16 bytes; up to 14 are held inline.
class Name {
 public:
  explicit Name(std::string_view text) : size_(static_cast<uint16_t>(text.size())) {
    char* place = inline_;
    if (size_ > sizeof(inline_)) {
      place = static_cast<char*>(std::malloc(size_));
      if (place == nullptr) throw std::bad_alloc();
      std::memcpy(inline_, &place, sizeof(place));
    }
    if (size_ > 0) std::memcpy(place, text.data(), size_);
  }
  Name() : Name(std::string_view()) {}
  Name(Name&& other) noexcept { take(other); }
  Name& operator=(Name&& other) noexcept {
    if (this != &other) {
      release();
      take(other);
    }
    return *this;
  }
  ~Name() { release(); }
  std::string_view view() const { return {size_ > sizeof(inline_) ? pointer() : inline_, size_}; }

 private:
  char* pointer() const {
    char* place;
    std::memcpy(&place, inline_, sizeof(place));
    return place;
  }
  void release() {
    if (size_ > sizeof(inline_)) std::free(pointer());
  }
  void take(Name& other) {
    size_ = std::exchange(other.size_, uint16_t{0});
    std::memcpy(inline_, other.inline_, sizeof(inline_));
  }
  char inline_[14] = {};
  uint16_t size_;
};

// The children of a znode: an open-addressing set of NodeIds, found by name through the slab.
// Its order depends only on the sequence of inserts and erases.
class ChildTable {
 public:
  template <class NameOf>
  NodeId find(std::string_view name, const NameOf& name_of) const {
    if (count_ == 0) return kNoNodeId;
    for (uint32_t i = hash(name) & mask(); slots_[i] != kNoNodeId; i = (i + 1) & mask()) {
      if (name_of(slots_[i]) == name) return slots_[i];
    }
    return kNoNodeId;
  }
  template <class NameOf>
  void insert(NodeId id, const NameOf& name_of) {
    if ((count_ + 1) * 4 > capacity_ * 3) grow(name_of);
    place(id, name_of(id));
    ++count_;
  }
  // Erases `id`, which must be there; later entries of its run move up, so there are no tombstones.
  template <class NameOf>
  void erase(NodeId id, const NameOf& name_of) {
    uint32_t hole = hash(name_of(id)) & mask();
    while (slots_[hole] != id) hole = (hole + 1) & mask();
    for (uint32_t i = (hole + 1) & mask(); slots_[i] != kNoNodeId; i = (i + 1) & mask()) {
      uint32_t home = hash(name_of(slots_[i])) & mask();
      if (((i - home) & mask()) >= ((i - hole) & mask())) {
        slots_[hole] = slots_[i];
        hole = i;
      }
    }
    slots_[hole] = kNoNodeId;
    if (--count_ == 0) {
      slots_.reset();
      capacity_ = 0;
    }
  }
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (uint32_t i = 0; i < capacity_; ++i) {
      if (slots_[i] != kNoNodeId) visit(slots_[i]);
    }
  }
  uint32_t size() const { return count_; }

 private:
  static uint32_t hash(std::string_view name) {
    uint64_t h = 0xcbf29ce484222325;  // FNV-1a, then mixed: neighbours must not share a run
    for (char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    return static_cast<uint32_t>((h ^ (h >> 29)) * 0x9e3779b97f4a7c15 >> 32);
  }
  uint32_t mask() const { return capacity_ - 1; }
  void place(NodeId id, std::string_view name) {
    uint32_t i = hash(name) & mask();
    while (slots_[i] != kNoNodeId) i = (i + 1) & mask();
    slots_[i] = id;
  }
  template <class NameOf>
  void grow(const NameOf& name_of) {
    uint32_t old_capacity = capacity_;
    std::unique_ptr<NodeId[]> old = std::move(slots_);
    capacity_ = old_capacity == 0 ? 4 : old_capacity * 2;
    slots_ = std::make_unique_for_overwrite<NodeId[]>(capacity_);
    for (uint32_t i = 0; i < capacity_; ++i) slots_[i] = kNoNodeId;
    for (uint32_t i = 0; i < old_capacity; ++i) {
      if (old[i] != kNoNodeId) place(old[i], name_of(old[i]));
    }
  }

  std::unique_ptr<NodeId[]> slots_;
  uint32_t capacity_ = 0;  // a power of two, or 0
  uint32_t count_ = 0;
};

struct ZNode {
  NodeStat stat;
  Bytes data;
  ChildTable children;
  Name name;
  NodeId parent = kNoNodeId;
  AclTable::Number acl = 0;
  mutable uint32_t snapshot_mark = 0;  // the last snapshot this znode is settled for (snapshot.h)
};

}  // namespace zabfs::tree
