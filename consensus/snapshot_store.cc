#include "consensus/snapshot_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "consensus/log_format.h"
#include "tree/snapshot.h"

namespace zabfs::consensus {

using log_format::get;
using log_format::put;
using tree::Zxid;

namespace {

constexpr uint64_t kSnapshotMagic = 0x50414E534642415A;  // "ZABFSNAP"
constexpr uint32_t kSnapshotVersion = 1;
constexpr size_t kHeaderBytes = 40;
constexpr size_t kChunkHeaderBytes = 8;
constexpr size_t kMaxChunkBytes = 4 * tree::kMaxRequestBytes;  // an element, or many
constexpr std::string_view kTemporaryPrefix = "snapshot.tmp.";
constexpr std::string_view kDivergedPrefix = "diverged.";

std::string file_name(Zxid zxid) {
  return fmt::format("snapshot.{:016x}", static_cast<uint64_t>(zxid.value));
}

std::string chunk_header(size_t length, uint32_t sum) {
  std::string bytes(kChunkHeaderBytes, '\0');
  put(&bytes[0], static_cast<uint32_t>(length));
  put(&bytes[4], sum);
  return bytes;
}

}  // namespace

std::vector<StoredSnapshot> list_snapshots(Disk& disk, std::string_view prefix) {
  std::vector<StoredSnapshot> found;
  for (const std::string& name : disk.list()) {
    if (!name.starts_with(prefix) || name.size() != prefix.size() + 16) continue;
    auto number = std::strtoull(name.c_str() + prefix.size(), nullptr, 16);
    found.push_back({Zxid{static_cast<int64_t>(number)}, name});
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.zxid < b.zxid; });
  return found;
}

std::vector<Zxid> SnapshotStore::list() {
  std::vector<Zxid> zxids;
  for (const StoredSnapshot& stored : list_snapshots(disk_)) zxids.push_back(stored.zxid);
  std::reverse(zxids.begin(), zxids.end());
  return zxids;
}

std::string SnapshotStore::diverged_name(Zxid zxid) {
  return fmt::format("{}{:016x}", kDivergedPrefix, static_cast<uint64_t>(zxid.value));
}

DiskStatus SnapshotStore::write_diverged(tree::Tree& tree) {
  for (const std::string& name : disk_.list()) {
    if (name.starts_with(kDivergedPrefix)) return DiskStatus{EEXIST, "keep " + name};
  }
  std::unique_ptr<tree::SnapshotCursor> cursor = tree.begin_snapshot();
  auto next = [&](std::string& out) { return cursor->next(out, kSnapshotChunkBytes); };
  return write_as(diverged_name(cursor->zxid()), cursor->zxid(), next);
}

DiskStatus SnapshotStore::write(Zxid zxid, const std::function<bool(std::string& out)>& next) {
  return write_as(file_name(zxid), zxid, next);
}

DiskStatus SnapshotStore::write_as(const std::string& name, Zxid zxid,
                                   const std::function<bool(std::string& out)>& next) {
  // Two may be written at once: this node's own, and one that a leader sends.
  std::string temporary = std::string(kTemporaryPrefix) + name;
  static_cast<void>(disk_.remove(temporary));
  std::unique_ptr<File> file;
  DiskStatus status = disk_.open(temporary, true, file);
  if (!status.ok()) return status;
  std::string header(kHeaderBytes, '\0');
  put(&header[0], kSnapshotMagic);
  put(&header[8], kSnapshotVersion);
  put(&header[16], zxid.value);
  put(&header[12], crc32c(0, std::string_view(header).substr(16)));
  status = file->write_at(0, header);
  uint64_t offset = kHeaderBytes;
  uint32_t sum = 0;
  std::string chunk(kChunkHeaderBytes, '\0');
  while (status.ok() && next(chunk)) {
    std::string_view body = std::string_view(chunk).substr(kChunkHeaderBytes);
    sum = crc32c(sum, body);
    put(&chunk[0], static_cast<uint32_t>(body.size()));
    put(&chunk[4], sum);
    status = file->write_at(offset, chunk);
    offset += chunk.size();
    chunk.resize(kChunkHeaderBytes);
  }
  if (status.ok()) status = file->write_at(offset, chunk_header(0, sum));
  if (status.ok()) status = file->sync();
  return disk_.install(status, temporary, name);
}

Status SnapshotReader::open(Disk& disk, Zxid zxid) {
  std::unique_ptr<File> file;
  DiskStatus status = disk.open(file_name(zxid), false, file);
  if (!status.ok()) return Status::failed(status.message());
  return open(std::move(file), file_name(zxid), zxid);
}

Status SnapshotReader::open(std::unique_ptr<File> file, std::string name, Zxid zxid) {
  file_ = std::move(file);
  name_ = std::move(name);
  zxid_ = zxid;
  std::string bytes;
  DiskStatus status = file_->read_at(0, kHeaderBytes, bytes);
  if (!status.ok()) return Status::failed(status.message());
  if (bytes.size() != kHeaderBytes || get<uint64_t>(bytes.data()) != kSnapshotMagic ||
      get<uint32_t>(&bytes[8]) != kSnapshotVersion || get<int64_t>(&bytes[16]) != zxid.value ||
      get<uint32_t>(&bytes[12]) != crc32c(0, std::string_view(bytes).substr(16))) {
    return Status::failed(name_ + " has a corrupt header");
  }
  offset_ = kHeaderBytes;
  return {};
}

Status SnapshotReader::next(std::string& chunk) {
  std::string head;
  DiskStatus status = file_->read_at(offset_, kChunkHeaderBytes, head);
  if (!status.ok()) return Status::failed(status.message());
  if (head.size() != kChunkHeaderBytes) {
    return Status::failed(fmt::format("{} ends at {}", name_, offset_));
  }
  auto length = get<uint32_t>(head.data());
  if (length > kMaxChunkBytes) {
    return Status::failed(fmt::format("{} offset {} is corrupt", name_, offset_));
  }
  status = file_->read_at(offset_ + kChunkHeaderBytes, length, chunk);
  if (!status.ok()) return Status::failed(status.message());
  sum_ = crc32c(sum_, chunk);
  if (chunk.size() != length || sum_ != get<uint32_t>(&head[4])) {
    return Status::failed(fmt::format("{} offset {} is corrupt", name_, offset_));
  }
  offset_ += kChunkHeaderBytes + length;
  return {};
}

Status SnapshotStore::check(Zxid zxid) {
  SnapshotReader reader;
  Status status = reader.open(disk_, zxid);
  for (std::string chunk = " "; status.ok() && !chunk.empty();) status = reader.next(chunk);
  return status;
}

StatusOr<std::unique_ptr<tree::Tree>> SnapshotStore::load(Zxid zxid) {
  SnapshotReader reader;
  tree::SnapshotLoader loader;
  auto state = tree::SnapshotLoader::State::kMore;
  std::string pending, chunk;
  Status status = reader.open(disk_, zxid);
  while (status.ok()) {
    status = reader.next(chunk);
    if (!status.ok() || chunk.empty()) break;
    std::string_view input = chunk;
    if (!pending.empty()) {
      pending.append(chunk);
      input = pending;
    }
    if (state == tree::SnapshotLoader::State::kMore) state = loader.feed(input);
    bool has_tree = state == tree::SnapshotLoader::State::kDone;
    if (has_tree && loader.feed_times(input) != tree::SnapshotLoader::State::kMore) {
      state = tree::SnapshotLoader::State::kBad;
    }
    pending = std::string(input);
  }
  if (!status.ok()) return status;
  if (state != tree::SnapshotLoader::State::kDone || !pending.empty()) {
    return Status::failed(file_name(zxid) + " does not hold a whole tree");
  }
  return loader.finish(zxid);
}

std::string SnapshotStore::path_of(Zxid zxid) const { return disk_.path_of(file_name(zxid)); }

void SnapshotStore::remove(Zxid zxid) { static_cast<void>(disk_.remove(file_name(zxid))); }

void SnapshotStore::retire(Zxid zxid) { static_cast<void>(disk_.retire(file_name(zxid))); }

DiskStatus SnapshotStore::probe(size_t bytes) {
  std::string name = std::string(kTemporaryPrefix) + "room";
  std::unique_ptr<File> file;
  DiskStatus status = disk_.open(name, true, file);
  std::string zeros(std::min(bytes, kSnapshotChunkBytes), '\0');
  for (size_t at = 0; status.ok() && at < bytes; at += zeros.size()) {
    status = file->write_at(at, zeros);
  }
  if (status.ok()) status = file->sync();
  static_cast<void>(disk_.remove(name));
  return status.of_unused_file();
}

void SnapshotStore::remove_leftovers() {
  for (const std::string& name : disk_.list()) {
    if (name.starts_with(kTemporaryPrefix)) static_cast<void>(disk_.remove(name));
  }
}

}  // namespace zabfs::consensus
