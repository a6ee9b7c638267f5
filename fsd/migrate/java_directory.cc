#include "fsd/migrate/java_directory.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "consensus/protocol.h"
#include "fsd/beneath.h"
#include "tree/java_log.h"
#include "tree/java_unpack.h"

namespace zabfs::migrate {

namespace fs = std::filesystem;
using tree::Zxid;

namespace {

constexpr size_t kReadBytes = size_t{1} << 20;
constexpr size_t kMaxSnapshots = 100;  // that are tried, as Java does
constexpr size_t kMaxEpochBytes = 32;

std::string version_2(const std::string& directory) {
  std::string inner = directory + "/version-2";
  return fs::is_directory(inner) ? inner : directory;
}

// Of `PREFIX.ZXID`, and of snapshots with an end that says how they are packed.
std::optional<Zxid> zxid_of(std::string_view name, std::string_view prefix) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  bool is_snapshot = prefix == "snapshot.";
  for (std::string_view end : {".gz", ".snappy"}) {
    if (is_snapshot && name.ends_with(end)) name.remove_suffix(end.size());
  }
  Zxid zxid;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), zxid.value, 16);
  bool is_whole = error == std::errc() && end == name.data() + name.size();
  return is_whole && zxid.value >= 0 ? std::optional(zxid) : std::nullopt;
}

Status failed_by_errno(const std::string& path) {
  return Status::failed(fmt::format("{}: {}", path, std::strerror(errno)));
}

}  // namespace

JavaDirectory::JavaDirectory(const std::string& directory, const std::string& log_directory,
                             fsd::Progress& progress)
    : snapshot_directory_(version_2(directory)),
      log_directory_(log_directory.empty() ? snapshot_directory_ : version_2(log_directory)),
      progress_(progress) {}

StatusOr<std::vector<JavaDirectory::Found>> JavaDirectory::list(const std::string& directory,
                                                                std::string_view prefix) {
  std::vector<Found> found;
  std::error_code error;
  fs::directory_iterator files(directory, error), end;
  for (; !error && files != end; files.increment(error)) {
    std::optional<Zxid> zxid = zxid_of(files->path().filename().string(), prefix);
    struct stat file;
    if (!zxid) continue;
    if (::stat(files->path().c_str(), &file) != 0) return failed_by_errno(files->path());
    if (!S_ISREG(file.st_mode)) continue;
    found.push_back({files->path(), *zxid, static_cast<uint64_t>(file.st_size),
                     int64_t{file.st_mtim.tv_sec} * 1'000'000'000 + file.st_mtim.tv_nsec});
  }
  if (error) return Status::failed(fmt::format("{}: {}", directory, error.message()));
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return a.zxid != b.zxid ? a.zxid < b.zxid : a.path < b.path;
  });
  return found;
}

Status JavaDirectory::find() {
  StatusOr<std::vector<Found>> snapshots = list(snapshot_directory_, "snapshot.");
  if (!snapshots.ok()) return snapshots.status();
  StatusOr<std::vector<Found>> logs = list(log_directory_, "log.");
  if (!logs.ok()) return logs.status();
  snapshots_ = std::move(*snapshots);
  logs_ = std::move(*logs);
  return {};
}

Status JavaDirectory::read_file(const Found& file, const Piece& piece) {
  fsd::Descriptor fd(::open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) return failed_by_errno(file.path);
  static_cast<void>(::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_SEQUENTIAL));
  progress_.begin("reads " + file.path, file.size);
  std::string buffer(kReadBytes, '\0');
  for (uint64_t bytes = 0;;) {
    ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed_by_errno(file.path);
    if (n == 0) return {};
    bytes += static_cast<size_t>(n);
    Status status = piece(std::string_view(buffer).substr(0, static_cast<size_t>(n)));
    if (!status.ok()) return status;
    progress_.at(bytes);
  }
}

// ---- snapshots

StatusOr<tree::JavaSnapshot> JavaDirectory::read_snapshot(const Found& file) {
  tree::JavaSnapshotReader reader;
  std::unique_ptr<tree::JavaUnpacker> unpacker = tree::make_unpacker(tree::packing_of(file.path));
  auto take = [&reader](std::string_view piece) { return reader.feed(piece); };
  Status status =
      read_file(file, [&](std::string_view bytes) { return unpacker->feed(bytes, take); });
  if (status.ok()) status = unpacker->finish();
  if (!status.ok()) return status;
  return reader.finish(file.zxid);
}

StatusOr<tree::JavaSnapshot> JavaDirectory::read_newest_snapshot(JavaData& data) {
  size_t tried = 0;
  for (size_t i = snapshots_.size(); i > 0 && tried < kMaxSnapshots; --i, ++tried) {
    const Found& file = snapshots_[i - 1];
    StatusOr<tree::JavaSnapshot> snapshot = read_snapshot(file);
    if (snapshot.ok()) {
      data.notes.push_back(
          fmt::format("took {}: {} znodes", file.path, snapshot->tree->node_count()));
      return snapshot;
    }
    data.notes.push_back(
        fmt::format("passed over {}, as ZooKeeper would: {}", file.path, snapshot.why()));
  }
  std::string why;
  for (const std::string& note : data.notes) why += "\n  " + note;
  if (!why.empty()) {
    return Status::failed(fmt::format(
        "{} holds no whole snapshot; take the data of another server of the ensemble:{}",
        snapshot_directory_, why));
  }
  if (logs_.empty()) {
    return Status::failed(fmt::format("{} holds no data of ZooKeeper's: no snapshot.*, no log.*",
                                      snapshot_directory_));
  }
  return Status::failed(fmt::format(
      "{} holds transaction logs and {} no snapshot: is that its dataDir? ZooKeeper would not "
      "start from this either. After an upgrade from 3.4, start it once with "
      "snapshot.trust.empty=true",
      log_directory_, snapshot_directory_));
}

// ---- logs

Status JavaDirectory::read_log(const Found& file, bool is_last, tree::JavaReplay& replay,
                               JavaData& data) {
  if (is_last && file.size == 0) return {};  // Java removes it
  tree::JavaLogReader reader;
  auto take = [&replay](uint64_t offset, std::string_view txn) {
    Status status = replay.apply(txn);
    if (status.ok()) return status;
    return Status::failed(fmt::format("offset {}: {}", offset, status.why()));
  };
  Status status = read_file(file, [&](std::string_view bytes) { return reader.feed(bytes, take); });
  if (status.ok()) status = reader.finish();
  if (!status.ok()) {
    return Status::failed(fmt::format(
        "{}: {}. ZooKeeper would not start from this either. Take the data of another server of "
        "the ensemble; or, to lose what follows, cut a copy of the file off there: truncate -s {} "
        "FILE",
        file.path, status.why(), reader.end()));
  }
  if (reader.is_torn()) {
    data.notes.push_back(
        fmt::format("{} offset {}: a write that a crash cut off; it counts for "
                    "nothing, as at a start of ZooKeeper's",
                    file.path, reader.end()));
  }
  return {};
}

// As Java: the last file that begins before `from`, and those after it.
Status JavaDirectory::read_logs(Zxid from, tree::JavaReplay& replay, JavaData& data) {
  auto first = std::find_if(logs_.begin(), logs_.end(),
                            [from](const Found& file) { return file.zxid >= from; });
  if (first != logs_.begin()) --first;
  for (auto file = first; file != logs_.end(); ++file) {
    Status status = read_log(*file, file + 1 == logs_.end(), replay, data);
    if (!status.ok()) return status;
  }
  return {};
}

// ---- epochs

// A number as text, in a file of its own; nullopt if there is none.
StatusOr<std::optional<uint32_t>> JavaDirectory::read_epoch(const std::string& name) {
  std::string path = snapshot_directory_ + "/" + name;
  if (::access(path.c_str(), F_OK) != 0) return std::optional<uint32_t>();
  std::string text;
  Status status = read_file({path, {}, 0, 0}, [&text](std::string_view bytes) {
    text += bytes.substr(0, kMaxEpochBytes);
    return text.size() > kMaxEpochBytes ? Status::failed("is too long") : Status();
  });
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0)
    text.pop_back();
  uint32_t epoch = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), epoch);
  bool is_number = error == std::errc() && end == text.data() + text.size() && !text.empty();
  if (!status.ok() || !is_number || epoch > consensus::kMaxEpoch) {
    return Status::failed(fmt::format(
        "{} is no epoch, a number up to {}: take the data of another server of the ensemble", path,
        consensus::kMaxEpoch));
  }
  return std::optional(epoch);
}

// FORMATS.md 6.1.
Status JavaDirectory::read_epochs(JavaData& data) {
  StatusOr<std::optional<uint32_t>> current = read_epoch("currentEpoch");
  if (!current.ok()) return current.status();
  StatusOr<std::optional<uint32_t>> accepted = read_epoch("acceptedEpoch");
  if (!accepted.ok()) return accepted.status();
  uint32_t of_log = data.tree->last_zxid().epoch();
  if (of_log > consensus::kMaxEpoch) {
    return Status::failed(fmt::format("its last zxid, 0x{:x}, has an epoch above {}",
                                      data.tree->last_zxid().value, consensus::kMaxEpoch));
  }
  data.current_epoch = current->value_or(of_log);
  if (data.current_epoch < of_log) {
    StatusOr<std::optional<uint32_t>> next = read_epoch("currentEpoch.tmp");
    if (!next.ok() || next->value_or(0) != of_log) {
      data.doubts.push_back(
          fmt::format("{}/currentEpoch says {}, and the log is of epoch {}: ZooKeeper would not "
                      "start from this",
                      snapshot_directory_, data.current_epoch, of_log));
    }
    data.current_epoch = of_log;
  }
  data.accepted_epoch = accepted->value_or(data.current_epoch);
  if (data.accepted_epoch < current->value_or(0)) {
    data.doubts.push_back(fmt::format(
        "{}/acceptedEpoch says {}, and currentEpoch {}: ZooKeeper would not start from this",
        snapshot_directory_, data.accepted_epoch, data.current_epoch));
  }
  data.accepted_epoch = std::max(data.accepted_epoch, data.current_epoch);
  return {};
}

StatusOr<JavaData> JavaDirectory::read() {
  Status status = find();
  if (!status.ok()) return status;
  std::vector<Found> snapshots = snapshots_, logs = logs_;
  JavaData data;
  StatusOr<tree::JavaSnapshot> snapshot = read_newest_snapshot(data);
  if (!snapshot.ok()) return snapshot.status();
  Zxid from = snapshot->tree->last_zxid().next();
  tree::JavaReplay replay(std::move(*snapshot));
  status = read_logs(from, replay, data);
  if (status.ok()) status = replay.finish();
  if (!status.ok()) return status;
  take_replay(replay, data);
  status = read_epochs(data);
  if (status.ok()) status = find();
  if (!status.ok()) return status;
  if (snapshots != snapshots_ || logs != logs_) {
    return Status::failed(fmt::format(
        "a ZooKeeper server writes to {}: stop it, and run this again", snapshot_directory_));
  }
  progress_.clear();
  return data;
}

}  // namespace zabfs::migrate
