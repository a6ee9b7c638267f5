// A million znodes of 100 bytes: memory, snapshot, restart.
//
//   bench_tree DIR [ZNODES]
#include <fmt/format.h>
#include <malloc.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "consensus/posix_disk.h"
#include "consensus/snapshot_store.h"
#include "tree/snapshot.h"
#include "tree/tree.h"

namespace {

using namespace zabfs;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double resident_bytes() {
  std::ifstream in("/proc/self/statm");
  double total = 0, resident = 0;
  in >> total >> resident;
  return resident * 4096;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    fmt::print(stderr, "usage: bench_tree DIR [ZNODES]\n");
    return 2;
  }
  int64_t count = argc > 2 ? std::atoll(argv[2]) : 1'000'000;
  std::filesystem::create_directories(argv[1]);
  consensus::PosixDisk disk(argv[1]);
  consensus::SnapshotStore store(disk);
  {
    tree::Tree tree;
    std::string data(100, 'x');
    auto start = Clock::now();
    for (int64_t i = 0; i < count; ++i) {
      tree::Txn txn;
      txn.header.zxid = tree::Zxid{i + 1};
      txn.header.type = tree::OpCode::kCreate;
      std::string path = i % 1'000 == 0 ? fmt::format("/dir{}", i / 1'000)
                                        : fmt::format("/dir{}/node{:06}", i / 1'000, i);
      txn.body = tree::CreateTxn{path, data, tree::open_acl(), false, -1, 0};
      tree.apply(txn, nullptr);
    }
    fmt::print("apply: {:.2f} us a create\n",
               seconds_since(start) * 1e6 / static_cast<double>(count));
    start = Clock::now();
    auto cursor = tree.begin_snapshot();
    store.write(cursor->zxid(), [&](std::string& out) { return cursor->next(out, 256u << 10); });
    fmt::print("snapshot of {} znodes: {:.2f} s\n", count, seconds_since(start));
  }
  malloc_trim(0);
  double before = resident_bytes();
  auto start = Clock::now();
  StatusOr<std::unique_ptr<tree::Tree>> loaded = store.load(tree::Zxid{count});
  fmt::print("load: {:.2f} s {}\n", seconds_since(start), loaded.why());
  fmt::print("memory: {:.0f} bytes resident a znode\n",
             (resident_bytes() - before) / static_cast<double>(count));
  return loaded.ok() ? 0 : 1;
}
