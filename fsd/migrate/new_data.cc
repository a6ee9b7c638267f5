#include "fsd/migrate/new_data.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>
#include <random>

#include "consensus/data_directory.h"
#include "consensus/posix_disk.h"
#include "consensus/snapshotter.h"
#include "fsd/migrate/target.h"

namespace zabfs::migrate {

using tree::ServerId;

StatusOr<consensus::WholeHistory> read_stopped_node(const std::string& from,
                                                    const std::string& from_log,
                                                    fsd::Progress& progress, consensus::Tail tail) {
  using consensus::DataDirectory;
  StatusOr<std::string> snapshots = DataDirectory::find_storage(from);
  if (!snapshots.ok()) return snapshots.status();
  StatusOr<std::string> logs = from_log.empty() ? snapshots : DataDirectory::find_storage(from_log);
  if (!logs.ok()) return logs.status();
  if (DataDirectory::is_in_use(*snapshots)) {
    return Status::failed(fmt::format("a zabfsd runs on {}: stop it first", *snapshots));
  }
  consensus::PosixDisk snapshot_disk(*snapshots), log_disk(*logs);
  consensus::ReadingHistory reading;
  reading.begins = [&](const std::string& what, uint64_t bytes) {
    progress.begin(fmt::format("reads {} of {}", what, from), bytes);
  };
  reading.at = [&](uint64_t bytes) { progress.at(bytes); };
  StatusOr<consensus::WholeHistory> history =
      consensus::read_history(log_disk, snapshot_disk, reading, tail);
  progress.clear();
  if (history.ok()) return history;
  return Status::failed(fmt::format(
      "{}: {}. Take the data of another node, or start this one, which mends what it can",
      *snapshots, history.why()));
}

namespace {

bool is_split(const NewData& data) { return !data.to_log.empty() && data.to_log != data.to; }

}  // namespace

Status is_free(const NewData& data) {
  Status status = Target(data.to, "zabfs").is_free();
  return status.ok() && is_split(data) ? Target(data.to_log, "zabfs").is_free() : status;
}

Status write_new_data(const NewData& data, consensus::WholeHistory& history,
                      fsd::Progress& progress) {
  bool has_own_logs = is_split(data);
  Target snapshots(data.to, "zabfs"), own_logs(has_own_logs ? data.to_log : data.to, "zabfs");
  Status status = act_as_owner_of(data.to);
  if (status.ok()) status = snapshots.prepare();
  if (status.ok() && has_own_logs) status = own_logs.prepare();
  if (!status.ok()) return status;
  const Target& logs = has_own_logs ? own_logs : snapshots;
  consensus::DiskStatus written = consensus::DataDirectory::create(snapshots.path(), data.server);
  if (written.ok()) written = consensus::DataDirectory::create(logs.path(), data.server);
  consensus::PosixDisk snapshot_disk(snapshots.path()), log_disk(logs.path());
  progress.begin("writes " + data.to + "/zabfs",
                 consensus::Snapshotter::estimate_bytes(*history.tree));
  if (written.ok()) {
    written = consensus::write_history(log_disk, snapshot_disk, history,
                                       [&progress](uint64_t bytes) { progress.at(bytes); });
  }
  progress.clear();
  if (!written.ok()) return Status::failed(written.message());
  if (has_own_logs) status = own_logs.finish();  // first: without the other it is no data directory
  return status.ok() ? snapshots.finish() : status;
}

int64_t new_ensemble() {
  std::random_device random;
  return int64_t{random() >> 2} << 32 | random() | 1;
}

std::optional<ServerId> server_number_in(std::initializer_list<std::string> directories) {
  for (const std::string& directory : directories) {
    std::ifstream file(directory + "/myid");
    std::string word;
    if (!file) continue;
    file >> word;
    ServerId id;
    auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), id.value);
    bool is_number = error == std::errc() && end == word.data() + word.size() && id.value >= 0;
    return is_number ? std::optional(id) : std::nullopt;
  }
  return ServerId{1};
}

}  // namespace zabfs::migrate
