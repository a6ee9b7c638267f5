// Files of Apache ZooKeeper's transaction log (FORMATS.md 6.2): a reader, and what a file is made
// of.
//
// It takes what a crash left as Java does. The log of a file ends where nothing was written, where
// an entry is cut off, or where its last byte is missing. A whole entry with a wrong checksum is
// damage.
//
// Pure: bytes in, transactions out. Memory: the longest transaction (128 MiB at most). Not
// thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tree/status.h"

namespace zabfs::tree {

class JavaLogReader {
 public:
  // A transaction, as decode_txn takes it, and where its entry begins in the file.
  using Sink = std::function<Status(uint64_t offset, std::string_view txn)>;

  // The next bytes of the file. A failure is the sink's, or says at which offset of the file
  // something is wrong.
  Status feed(std::string_view bytes, const Sink& sink);
  // What follows in the file does not count.
  bool has_ended() const { return has_ended_; }
  // The file has ended. Fails if it is no log of ZooKeeper's.
  Status finish() const;
  // An entry was cut off; where it begins.
  bool is_torn() const { return is_torn_ || (!has_ended_ && has_header_ && !pending_.empty()); }
  uint64_t end() const { return offset_; }
  uint64_t entries() const { return entries_; }

 private:
  enum class Taken { kYes, kMore, kEnd };

  Status take_header();
  Status take_entry(std::string_view& left, const Sink& sink, Taken& taken);
  Status wrong(const std::string& what) const;

  std::string pending_;
  uint64_t offset_ = 0;  // of the first byte that is pending
  uint64_t entries_ = 0;
  bool has_header_ = false, has_ended_ = false, is_torn_ = false;
};

// What a file begins with.
std::string java_log_head();
// Appends the entry of a transaction.
void append_java_log_entry(std::string_view txn, std::string& out);
// A transaction of ours as Java has it: without the posix entries of its ACLs (posix.h), and
// without who made it. nullopt if the bytes are no transaction.
std::optional<std::string> java_txn(std::string_view txn);

}  // namespace zabfs::tree
