// Files of a data directory: a log segment, a snapshot, an epoch file. The first byte says which.
#include "consensus/epoch_store.h"
#include "consensus/log.h"
#include "consensus/snapshot_store.h"
#include "sim/sim_disk.h"

using namespace zabfs::consensus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static constexpr const char* kNames[] = {"log.0000000000000001", "snapshot.0000000000000007",
                                           "accepted.0"};
  const char* name = kNames[data[0] % 3];
  zabfs::sim::SimDisk disk(1);
  {
    std::unique_ptr<File> file;
    if (!disk.open(name, true, file).ok()) return 0;
    static_cast<void>(file->write_at(0, {reinterpret_cast<const char*>(data) + 1, size - 1}));
  }
  if (data[0] % 3 == 0) {
    Log log(disk, Log::Options{4'096});
    LogRecovery recovery = log.open();
    std::deque<LogTxn> txns;
    const History& history = log.history();
    static_cast<void>(Log::read(disk, history, history.base(), history.last(), 100, txns));
    static_cast<void>(log.set_aside_before(history.last()));
    if (recovery.error.empty() && recovery.damage.empty() && log.begin().ok()) {
      LogEntry entry{log_format::RecordType::kSeal, Zxid{}, 0, nullptr};
      static_cast<void>(log.write({entry}, Zxid{}));
    }
  } else if (data[0] % 3 == 1) {
    SnapshotStore store(disk);
    static_cast<void>(store.load(Zxid{7}));
  } else {
    static_cast<void>(EpochStore(disk).open());
  }
  return 0;
}
