#include "consensus/epoch_store.h"

#include <fmt/format.h>

#include <cstring>
#include <memory>

#include "consensus/log_format.h"

namespace zabfs::consensus {

using log_format::get;
using log_format::put;

namespace {

constexpr uint64_t kMagic = 0x434F50454642415A;  // "ZABFEPOC"
constexpr size_t kBytes = 24;                    // magic, sequence, epoch, CRC-32C of all before

std::string slot_name(uint64_t sequence) { return fmt::format("accepted.{}", sequence % 2); }

}  // namespace

std::string EpochStore::open() {
  int present = 0, whole = 0;
  for (uint64_t slot : {0u, 1u}) {
    std::unique_ptr<File> file;
    std::string bytes;
    if (!disk_.open(slot_name(slot), false, file).ok()) continue;
    ++present;
    if (!file->read_at(0, kBytes, bytes).ok() || bytes.size() != kBytes ||
        get<uint64_t>(bytes.data()) != kMagic ||
        get<uint32_t>(&bytes[20]) != crc32c(0, std::string_view(bytes).substr(0, 20))) {
      continue;
    }
    ++whole;
    auto sequence = get<uint64_t>(&bytes[8]);
    if (whole == 1 || sequence > sequence_) {
      sequence_ = sequence;
      accepted_ = get<uint32_t>(&bytes[16]);
    }
  }
  if (present == 2 && whole == 0) {
    return "accepted.0 and accepted.1 are both corrupt: this node can't know what it promised";
  }
  return {};
}

DiskStatus EpochStore::save(uint32_t accepted) {
  std::string bytes(kBytes, '\0');
  put(&bytes[0], kMagic);
  put(&bytes[8], sequence_ + 1);
  put(&bytes[16], accepted);
  put(&bytes[20], crc32c(0, std::string_view(bytes).substr(0, 20)));
  std::unique_ptr<File> file;
  DiskStatus status = disk_.open(slot_name(sequence_ + 1), true, file);
  if (status.ok()) status = file->write_at(0, bytes);
  if (status.ok()) status = file->sync();
  if (status.ok()) status = disk_.sync_directory();
  if (!status.ok()) return status;
  sequence_ += 1;
  accepted_ = accepted;
  return {};
}

}  // namespace zabfs::consensus
