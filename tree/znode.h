// One znode, as compactly as a million of them ask for, and the parts it is made of.
//
// Znodes live in the tree's slab and name each other by NodeId (32 bits), not by pointer. A znode
// is changed only by Tree::apply and snapshot loading; everyone else sees const.
#pragma once

#include <algorithm>
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

// Times that ZooKeeper's Stat does not have, and a filesystem shows: by the leader's clock, as all
// times of a tree; 0 if there was no such change. They are not in the digest. Java's snapshots do
// not have them, so a znode that came in one begins with 0 again.
struct ChangeTimes {
  int64_t children_ms = 0;  // a child was made or removed last
  int64_t acl_ms = 0;       // the ACL was changed last
  bool operator==(const ChangeTimes&) const = default;
};

inline constexpr int64_t kContainerOwner = INT64_MIN;
enum class OwnerKind { kPersistent, kEphemeral, kContainer, kTtl };
OwnerKind owner_kind(int64_t owner);
inline constexpr int64_t kMaxTtlMs = 0xFFFFFFFFFF;
int64_t ttl_owner(int64_t ttl_ms);
int64_t owner_ttl_ms(int64_t owner);

// What clients get (FORMATS.md 1.6, 1.10).
struct Stat {
  Zxid czxid, mzxid;
  int64_t ctime_ms = 0, mtime_ms = 0;
  int32_t version = 0, cversion = 0, aversion = 0;
  int64_t ephemeral_owner = 0;
  int32_t data_length = 0, num_children = 0;
  Zxid pzxid;
};

// A name in 16 bytes; up to 14 are held inline. Servers of Apache ZooKeeper make names that are as
// long as a request. Then the length stands before the name.
class Name {
 public:
  explicit Name(std::string_view text)
      : size_(static_cast<uint16_t>(std::min<size_t>(text.size(), kLong))) {
    char* to = inline_;
    if (size_ > sizeof(inline_)) {
      char* heap = static_cast<char*>(std::malloc(text.size() + (size_ == kLong ? kHead : 0)));
      if (heap == nullptr) throw std::bad_alloc();
      std::memcpy(inline_, &heap, sizeof(heap));
      to = heap;
      if (size_ == kLong) {
        auto length = static_cast<uint32_t>(text.size());
        std::memcpy(heap, &length, kHead);
        to += kHead;
      }
    }
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
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
  std::string_view view() const {
    if (size_ <= sizeof(inline_)) return {inline_, size_};
    if (size_ < kLong) return {pointer(), size_};
    uint32_t length;
    std::memcpy(&length, pointer(), kHead);
    return {pointer() + kHead, length};
  }

 private:
  static constexpr uint16_t kLong = UINT16_MAX;  // this long or longer
  static constexpr size_t kHead = sizeof(uint32_t);

  char* pointer() const {
    char* heap;
    std::memcpy(&heap, inline_, sizeof(heap));
    return heap;
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
// Its order depends only on the sequence of inserts and erases, and differs between capacities:
// what is inserted in the order of a larger table would pile up at the beginning of a growing one.
// One pointer when it is empty: most znodes have no children.
class ChildTable {
 public:
  template <class NameOf>
  NodeId find(std::string_view name, const NameOf& name_of) const {
    if (size() == 0) return kNoNodeId;
    for (uint32_t i = home(name); slot(i) != kNoNodeId; i = after(i)) {
      if (name_of(slot(i)) == name) return slot(i);
    }
    return kNoNodeId;
  }
  template <class NameOf>
  void insert(NodeId id, const NameOf& name_of) {
    reserve(size() + 1, name_of);
    place(id, name_of(id));
    ++block_[kCount];
  }
  // Makes room for `count` in all, so that inserts up to there move nothing.
  template <class NameOf>
  void reserve(size_t count, const NameOf& name_of) {
    uint32_t wanted = std::max(capacity(), 4u);
    while (count * 4 > size_t{wanted} * 3) wanted *= 2;
    if (wanted > capacity()) grow(wanted, name_of);
  }
  // Erases `id`, which must be there; later entries of its run move up, so there are no tombstones.
  template <class NameOf>
  void erase(NodeId id, const NameOf& name_of) {
    uint32_t hole = home(name_of(id));
    while (slot(hole) != id) hole = after(hole);
    for (uint32_t i = after(hole); slot(i) != kNoNodeId; i = after(i)) {
      uint32_t wanted = home(name_of(slot(i)));
      if (((i - wanted) & mask()) >= ((i - hole) & mask())) {
        slot(hole) = slot(i);
        hole = i;
      }
    }
    slot(hole) = kNoNodeId;
    if (--block_[kCount] == 0) block_.reset();
  }
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (uint32_t i = 0; i < capacity(); ++i) {
      if (slot(i) != kNoNodeId) visit(slot(i));
    }
  }
  uint32_t size() const { return block_ ? block_[kCount] : 0; }

 private:
  // The block: capacity (a power of two), count, then the slots.
  static constexpr uint32_t kCapacity = 0, kCount = 1, kFirstSlot = 2;

  uint32_t capacity() const { return block_ ? block_[kCapacity] : 0; }
  uint32_t mask() const { return block_[kCapacity] - 1; }
  uint32_t home(std::string_view name) const {
    uint64_t h = 0xcbf29ce484222325;  // FNV-1a, then mixed: neighbours must not share a run
    for (char c : name) h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    uint64_t mixed = (h ^ (h >> 29)) * 0x9e3779b97f4a7c15 * (2 * uint64_t{capacity()} + 1);
    return static_cast<uint32_t>(mixed >> 32) & mask();
  }
  uint32_t after(uint32_t i) const { return (i + 1) & mask(); }
  NodeId& slot(uint32_t i) { return block_[kFirstSlot + i]; }
  NodeId slot(uint32_t i) const { return block_[kFirstSlot + i]; }
  void place(NodeId id, std::string_view name) {
    uint32_t i = home(name);
    while (slot(i) != kNoNodeId) i = after(i);
    slot(i) = id;
  }
  template <class NameOf>
  void grow(uint32_t new_capacity, const NameOf& name_of) {
    ChildTable old = std::move(*this);
    block_ = std::make_unique_for_overwrite<uint32_t[]>(kFirstSlot + new_capacity);
    block_[kCapacity] = new_capacity;
    block_[kCount] = old.size();
    for (uint32_t i = 0; i < new_capacity; ++i) slot(i) = kNoNodeId;
    old.for_each([&](NodeId id) { place(id, name_of(id)); });
  }

  std::unique_ptr<uint32_t[]> block_;
};

struct ZNode {
  NodeStat stat;
  ChangeTimes times;
  Bytes data;
  ChildTable children;
  Name name;
  NodeId parent = kNoNodeId;
  AclTable::Number acl = 0;
  uint32_t digest = 0;                 // node_digest of what is here; 0: not known
  mutable uint32_t snapshot_mark = 0;  // the last snapshot this znode is settled for (snapshot.h)
};

}  // namespace zabfs::tree
