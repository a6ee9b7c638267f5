// Files of an Apache ZooKeeper server: a snapshot, plain or packed, a transaction log, and
// transactions that a log may have behind a snapshot. The first byte says which.
#include "tree/java_log.h"
#include "tree/java_replay.h"
#include "tree/java_snapshot.h"
#include "tree/java_unpack.h"

using namespace zabfs;
using namespace zabfs::tree;

namespace {

// A packed file stands for no more than this here.
constexpr size_t kMaxUnpackedBytes = size_t{8} << 20;

void write_again(const Tree& tree) {
  JavaSnapshotWriter writer(tree);
  std::string bytes;
  while (writer.next(bytes, 1'000)) {
  }
}

void read_snapshot(JavaPacking packing, std::string_view bytes) {
  JavaSnapshotReader reader;
  std::unique_ptr<JavaUnpacker> unpacker = make_unpacker(packing);
  size_t unpacked = 0;
  auto take = [&](std::string_view piece) {
    unpacked += piece.size();
    return unpacked > kMaxUnpackedBytes ? Status::failed("enough") : reader.feed(piece);
  };
  size_t half = bytes.size() / 2;
  if (!unpacker->feed(bytes.substr(0, half), take).ok()) return;
  if (!unpacker->feed(bytes.substr(half), take).ok() || !unpacker->finish().ok()) return;
  StatusOr<JavaSnapshot> snapshot = reader.finish(Zxid{7});
  if (!snapshot.ok()) return;
  JavaReplay replay(std::move(*snapshot));
  if (replay.finish().ok()) write_again(*replay.take_tree());
}

void read_log(std::string_view bytes) {
  JavaLogReader reader;
  auto take = [](uint64_t, std::string_view) { return Status(); };
  size_t half = bytes.size() / 2;
  if (!reader.feed(bytes.substr(0, half), take).ok()) return;
  if (reader.feed(bytes.substr(half), take).ok()) static_cast<void>(reader.finish());
}

// Each behind two bytes of length.
void replay_txns(std::string_view bytes) {
  JavaSnapshot snapshot;
  snapshot.tree = std::make_unique<Tree>();
  JavaReplay replay(std::move(snapshot));
  while (bytes.size() > 2) {
    size_t length = static_cast<uint8_t>(bytes[0]) * size_t{256} + static_cast<uint8_t>(bytes[1]);
    if (!replay.apply(bytes.substr(2, length)).ok()) return;
    bytes.remove_prefix(std::min(bytes.size(), 2 + length));
  }
  if (replay.finish().ok()) write_again(*replay.take_tree());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      read_snapshot(JavaPacking::kPlain, bytes);
      break;
    case 1:
      read_snapshot(JavaPacking::kGzip, bytes);
      break;
    case 2:
      read_snapshot(JavaPacking::kSnappy, bytes);
      break;
    case 3:
      read_log(bytes);
      break;
    default:
      replay_txns(bytes);
      break;
  }
  return 0;
}
