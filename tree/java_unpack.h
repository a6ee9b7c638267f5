// Unpacks what Apache ZooKeeper packs its snapshots in: gzip and snappy-java's stream.
//
// Pure: packed bytes in, pieces of the stream out. A piece is at most kUnpackedPieceBytes long,
// however much a packed byte stands for. Not thread-safe.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

#include "tree/status.h"

namespace zabfs::tree {

inline constexpr size_t kUnpackedPieceBytes = size_t{1} << 20;

class JavaUnpacker {
 public:
  using Sink = std::function<Status(std::string_view piece)>;

  virtual ~JavaUnpacker() = default;
  // The next bytes of the file. A failure is the sink's, or says at which offset of the file
  // something is wrong.
  virtual Status feed(std::string_view packed, const Sink& sink) = 0;
  // The file ended. Fails if the stream did not.
  virtual Status finish() = 0;
};

enum class JavaPacking { kPlain, kGzip, kSnappy };
// Java goes by the end of the name: `.gz`, `.snappy`, anything else.
JavaPacking packing_of(std::string_view file_name);
std::unique_ptr<JavaUnpacker> make_unpacker(JavaPacking packing);

}  // namespace zabfs::tree
