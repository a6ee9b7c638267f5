// A directory and what is below it, as records, as of one zxid: what `@/export` gives, and what a
// subtree of a backup becomes.
//
// It is collected at once, while the tree stands still: the records without the data, and the data
// as references that the tree shares (tree/bytes.h). The bytes are put together as they are read,
// from any offset.
//
// It has what its reader could list and read by hand. Of a directory that it may not list, and of a
// file that it may not read, it says so. Ephemerals and hidden children are not in it. Of a tree of
// the past, a reader other than root must also be allowed now what he was allowed then.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "fsd/transfer/record.h"
#include "fsd/view/view.h"
#include "tree/tree.h"

namespace zabfs::fsd {

class Subtree {
 public:
  static constexpr size_t kMaxRecords = 5'000'000;

  // Whether the reader may read what is at that path now, or a file that was there.
  using MayReadNow = std::function<bool(const std::string& path)>;

  // `directory` is there; `time_ms` is when the tree was changed last. Without `may_read_now` the
  // tree is the one of now.
  Subtree(const tree::Tree& tree, const ViewOptions& options, const Caller& reader,
          const std::string& directory, int64_t time_ms = 0, MayReadNow may_read_now = nullptr);

  // It would have more records than it may; what there is is good for nothing then.
  bool is_too_large() const { return pieces_.size() > kMaxRecords; }
  // At most `size` bytes from there; none at the end.
  std::string read(uint64_t offset, size_t size) const;

 private:
  // A record: what `heads_` has of it, and its data behind that.
  struct Piece {
    uint64_t head;    // where it begins in `heads_`
    uint64_t offset;  // where it begins in the stream
    tree::Bytes data;
  };
  bool allows(const View& view, const std::string& path, uint32_t wanted) const;
  void add(const tree::ZNode& node, const std::string& path, const std::string& name);
  // Whether it is a directory, whose children follow.
  bool add_alone(const tree::ZNode& node, const std::string& path, const std::string& name);
  void add_children(const tree::ZNode& node, const std::string& path, const std::string& name);
  void note_acl(const tree::ZNode& node, const View& view, transfer::Entry& entry);
  void leave_out(const std::string& name, transfer::Reason why);
  void put(const transfer::Record& record);
  void begin_piece(tree::Bytes data);

  const tree::Tree& tree_;  // only while it is collected
  const ViewOptions& options_;
  const Caller& reader_;
  const MayReadNow may_read_now_;
  std::string heads_;
  std::vector<Piece> pieces_;
  uint64_t bytes_ = 0;
  transfer::End end_;
};

}  // namespace zabfs::fsd
