#include "consensus/epoch_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "consensus/log_format.h"
#include "consensus/messages.h"

namespace zabfs::consensus {

using log_format::get;
using log_format::put;

namespace {

// u64 magic, u64 sequence, u32 accepted epoch, u32 votes (0 or 1), i64 ensemble, 32 bytes of secret
// (all 0: none), u32 CRC-32C of all before. Earlier records have no secret.
constexpr uint64_t kEpochMagic = 0x324F50454642415A;  // "ZABFEPO2"
constexpr uint64_t kOldMagic = 0x434F50454642415A;    // "ZABFEPOC"
constexpr size_t kSecretOffset = 32;
constexpr size_t kSumOffset = kSecretOffset + kSecretBytes;
constexpr size_t kBytes = kSumOffset + 4;
constexpr size_t kOldBytes = kSecretOffset + 4;
const std::string kNoSecret(kSecretBytes, '\0');

std::string slot_name(int number) { return fmt::format("accepted.{}", number); }

}  // namespace

EpochStore::Slot EpochStore::read(int number) {
  Slot slot;
  std::unique_ptr<File> file;
  std::string bytes;
  DiskStatus status = disk_.open(slot_name(number), false, file);
  slot.present = status.error != ENOENT;
  if (!status.ok() || !file->read_at(0, kBytes, bytes).ok()) return slot;
  uint64_t magic = bytes.size() < kOldBytes ? kEpochMagic : get<uint64_t>(bytes.data());
  bool is_old = magic == kOldMagic;
  slot.cut_short = bytes.size() < (magic == kEpochMagic ? kBytes : kOldBytes);
  if (slot.cut_short || (magic != kEpochMagic && !is_old)) return slot;
  size_t sum_offset = is_old ? kSecretOffset : kSumOffset;
  uint32_t sum = crc32c(0, std::string_view(bytes).substr(0, sum_offset));
  if (get<uint32_t>(&bytes[sum_offset]) != sum) return slot;
  slot.whole = true;
  slot.sequence = get<uint64_t>(&bytes[8]);
  slot.promise = {get<uint32_t>(&bytes[16]), get<uint32_t>(&bytes[20]) == 1,
                  get<int64_t>(&bytes[24])};
  if (!is_old) slot.promise.secret = bytes.substr(kSecretOffset, kSecretBytes);
  if (slot.promise.secret == kNoSecret) slot.promise.secret.clear();
  return slot;
}

EpochStore::Opened EpochStore::open() {
  Slot slots[2] = {read(0), read(1)};
  if (!slots[0].present && !slots[1].present) return {State::kNew, {}};
  if (!slots[0].whole && !slots[1].whole) {
    // A crash in the very first save leaves no second copy, or the beginning of one, and had
    // promised nothing.
    if (!slots[1].present || slots[1].cut_short) return {State::kNew, {}};
    return {State::kLost,
            "accepted.0 and accepted.1 are both damaged: what this node promised is lost"};
  }
  const Slot& newest = !slots[1].whole || (slots[0].whole && slots[0].sequence >= slots[1].sequence)
                           ? slots[0]
                           : slots[1];
  sequence_ = newest.sequence;
  promise_ = newest.promise;
  both_exist_ = slots[0].whole && slots[1].whole;
  std::string problem;
  for (int number : {0, 1}) {
    if (slots[number].present && !slots[number].whole) {
      problem = slot_name(number) + " is damaged; the other copy has what it said";
    }
  }
  return {State::kIntact, std::move(problem)};
}

DiskStatus EpochStore::save(Promise promise) {
  promise.accepted_epoch = std::max(promise.accepted_epoch, promise_.accepted_epoch);
  if (!promise.ensemble) promise.ensemble = promise_.ensemble;
  if (promise.secret.size() != kSecretBytes) promise.secret = promise_.secret;
  std::string bytes(kBytes, '\0');
  put(&bytes[0], kEpochMagic);
  put(&bytes[8], sequence_ + 1);
  put(&bytes[16], promise.accepted_epoch);
  put(&bytes[20], uint32_t{promise.votes});
  put(&bytes[24], promise.ensemble.value_or(0));
  promise.secret.copy(&bytes[kSecretOffset], kSecretBytes);
  put(&bytes[kSumOffset], crc32c(0, std::string_view(bytes).substr(0, kSumOffset)));
  DiskStatus status;
  for (int number : {0, 1}) {
    std::unique_ptr<File> file;
    if (status.ok()) status = disk_.open(slot_name(number), true, file);
    if (status.ok()) status = file->write_at(0, bytes);
    if (status.ok()) status = file->sync();
    if (status.ok() && !both_exist_) status = disk_.sync_directory();
  }
  if (!status.ok()) return status;
  both_exist_ = true;
  sequence_ += 1;
  promise_ = promise;
  return {};
}

}  // namespace zabfs::consensus
