// Files of Apache ZooKeeper, made for tests.
#pragma once

#include <libdeflate.h>

#include <string>
#include <string_view>

#include "tree/java_snapshot.h"
#include "tree/jute.h"

namespace zabfs::tree {

inline std::string java_snapshot_of(const Tree& tree, size_t piece_bytes = 1'000) {
  JavaSnapshotWriter writer(tree);
  std::string bytes;
  while (writer.next(bytes, piece_bytes)) {
  }
  return bytes;
}

inline StatusOr<JavaSnapshot> read_java_snapshot(std::string_view bytes, Zxid zxid,
                                                 size_t piece_bytes = 1'000) {
  JavaSnapshotReader reader;
  while (!bytes.empty()) {
    Status status = reader.feed(bytes.substr(0, piece_bytes));
    if (!status.ok()) return status;
    bytes.remove_prefix(std::min(piece_bytes, bytes.size()));
  }
  return reader.finish(zxid);
}

inline std::string java_log_header() {
  std::string bytes;
  jute::Writer out(bytes);
  out.i32(0x5A4B4C47);
  out.i32(2);
  out.i64(0);
  return bytes;
}

inline std::string java_log_entry(std::string_view txn) {
  std::string bytes;
  jute::Writer out(bytes);
  out.i64(int64_t{::libdeflate_adler32(1, txn.data(), txn.size())});
  out.string(txn);
  out.byte('B');
  return bytes;
}

}  // namespace zabfs::tree
