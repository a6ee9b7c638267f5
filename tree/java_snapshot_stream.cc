#include "tree/java_snapshot_stream.h"

#include <libdeflate.h>

#include "tree/java_snapshot_format.h"
#include "tree/jute.h"
#include "tree/snapshot.h"

namespace zabfs::tree {

void JavaSnapshotStream::put(std::string_view bytes, std::string& out) {
  sum_ = ::libdeflate_adler32(sum_, bytes.data(), bytes.size());
  out.append(bytes);
}

void JavaSnapshotStream::add(std::string_view piece, std::string& out) {
  if (!has_begun_) {
    std::string head;
    jute::Writer writer(head);
    writer.i32(kJavaSnapshotMagic);
    writer.i32(kJavaSnapshotVersion);
    writer.i64(kJavaDatabase);
    put(head, out);
    has_begun_ = true;
  }
  if (!is_times_block(piece)) put(piece, out);
}

void JavaSnapshotStream::seal(std::string& out) {
  std::string bytes;
  jute::Writer writer(bytes);
  writer.i64(int64_t{sum_});
  writer.string("/");
  put(bytes, out);
}

void JavaSnapshotStream::finish(std::string& out) {
  seal(out);
  std::string bytes;
  jute::Writer digest(bytes);
  digest.i64(0);  // there is none
  digest.i32(kJavaDigestVersion);
  digest.i64(0);
  put(bytes, out);
  seal(out);
  bytes.clear();
  jute::Writer(bytes).i64(zxid_.value);
  put(bytes, out);
  seal(out);
}

}  // namespace zabfs::tree
