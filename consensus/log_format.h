// The transaction log on disk, shared by its writer and its readers (ZAB.md section 3).
//
// A log is a sequence of segment files `log.SSSSSSSSSSSSSSSS` (hex, rising), each preallocated with
// zeros. A segment is a header and then records, every one aligned to 8 bytes. Integers are
// little-endian.
//
//   segment header, 64 bytes            record header, 48 bytes
//    0 u64 magic "ZABFSLOG"              0 u32 header sum: CRC-32C of bytes 4..48
//    8 u32 version                       4 u32 body sum: CRC-32C of the body
//   12 u32 sum of the record before      8 u32 header sum of the record before (the chain)
//   16 u64 segment number               12 u32 body length
//   24 i64 last zxid before             16 u32 type
//   32 u32 current epoch before         20 u32 synced: bytes of this segment known durable
//   36 u32 0                                when this record was written
//   40 u64 covers: the last segment     24 i64 zxid
//          whose records are in here    32 u32 mode of kBeginSync, epoch of kEndSync
//   48 u32 CRC-32C of bytes 0..48       36 u32 magic "ZREC"
//                                       40 i64 committed: known committed when this was written
//
// A synchronisation with a leader is one group, {kBeginSync, txns, kEndSync}: it counts as a whole
// or, if its end is missing, not at all. So history and current epoch can't disagree. A group
// without an end is taken back by a kRollBack in the segment of its kBeginSync, before the log goes
// on; segments behind that one are removed first. Nothing that was synced is ever overwritten.
//
// Torn tail or corruption: records are written in batches, one sync a batch. After the first
// invalid record at offset X, a valid one whose `synced` is above X proves that X had been durable:
// that is corruption. Otherwise X is where a crash stopped the last, never acknowledged batch. So
// that the last batch, too, has such a witness, an idle log writes a kSeal soon after it.
//
// A mended segment (Log::mend) holds the records of the segments up to `covers` as well; those are
// leftovers.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "consensus/crc32c.h"
#include "tree/origin.h"
#include "tree/types.h"

namespace zabfs::consensus::log_format {

inline constexpr uint64_t kSegmentMagic = 0x474F4C534642415A;  // "ZABFSLOG"
inline constexpr uint32_t kRecordMagic = 0x4345525A;           // "ZREC"
inline constexpr uint32_t kVersion = 1;
inline constexpr size_t kSegmentHeaderBytes = 64;
inline constexpr size_t kRecordHeaderBytes = 48;
inline constexpr size_t kMaxBodyBytes = 4 * tree::kMaxRequestBytes;
static_assert(kMaxBodyBytes >= tree::kMaxTxnBytes + tree::kMaxOriginBytes);

enum class RecordType : uint32_t {
  kTxn = 1,
  kBeginSync = 2,
  kEndSync = 3,
  kSeal = 4,
  kRollBack = 5,
};

struct SegmentHeader {
  uint32_t chain = 0;
  uint64_t number = 0;
  tree::Zxid last_zxid;
  uint32_t current_epoch = 0;
  uint64_t covers = 0;
};

struct RecordHeader {
  uint32_t sum = 0;
  uint32_t body_sum = 0;
  uint32_t chain = 0;
  uint32_t length = 0;
  RecordType type = RecordType::kTxn;
  uint32_t synced = 0;
  tree::Zxid zxid;
  uint32_t extra = 0;
  tree::Zxid committed;
};

inline constexpr size_t padded(size_t bytes) { return (bytes + 7) & ~size_t{7}; }

template <class T>
void put(char* to, T value) {
  std::memcpy(to, &value, sizeof(value));
}
template <class T>
T get(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

inline std::string encode_segment_header(const SegmentHeader& header) {
  std::string bytes(kSegmentHeaderBytes, '\0');
  put(&bytes[0], kSegmentMagic);
  put(&bytes[8], kVersion);
  put(&bytes[12], header.chain);
  put(&bytes[16], header.number);
  put(&bytes[24], header.last_zxid.value);
  put(&bytes[32], header.current_epoch);
  put(&bytes[40], header.covers);
  put(&bytes[48], crc32c(0, {bytes.data(), 48}));
  return bytes;
}

inline bool decode_segment_header(std::string_view bytes, SegmentHeader& header) {
  if (bytes.size() < kSegmentHeaderBytes) return false;
  const char* p = bytes.data();
  if (get<uint64_t>(p) != kSegmentMagic || get<uint32_t>(p + 8) != kVersion) return false;
  if (get<uint32_t>(p + 48) != crc32c(0, bytes.substr(0, 48))) return false;
  header.chain = get<uint32_t>(p + 12);
  header.number = get<uint64_t>(p + 16);
  header.last_zxid.value = get<int64_t>(p + 24);
  header.current_epoch = get<uint32_t>(p + 32);
  header.covers = get<uint64_t>(p + 40);
  return true;
}

// Appends header, body and padding to `out`, and sets `header.sum`.
inline void encode_record(RecordHeader& header, std::string_view body, std::string& out) {
  header.length = static_cast<uint32_t>(body.size());
  header.body_sum = crc32c(0, body);
  char bytes[kRecordHeaderBytes];
  put(bytes + 4, header.body_sum);
  put(bytes + 8, header.chain);
  put(bytes + 12, header.length);
  put(bytes + 16, static_cast<uint32_t>(header.type));
  put(bytes + 20, header.synced);
  put(bytes + 24, header.zxid.value);
  put(bytes + 32, header.extra);
  put(bytes + 36, kRecordMagic);
  put(bytes + 40, header.committed.value);
  header.sum = crc32c(0, {bytes + 4, kRecordHeaderBytes - 4});
  put(bytes, header.sum);
  out.append(bytes, kRecordHeaderBytes);
  out.append(body);
  out.append(padded(body.size()) - body.size(), '\0');
}

// Whether `bytes` begins with a whole, intact record.
inline bool decode_record(std::string_view bytes, RecordHeader& header, std::string_view& body) {
  if (bytes.size() < kRecordHeaderBytes) return false;
  const char* p = bytes.data();
  if (get<uint32_t>(p + 36) != kRecordMagic) return false;
  header.sum = get<uint32_t>(p);
  if (header.sum != crc32c(0, bytes.substr(4, kRecordHeaderBytes - 4))) return false;
  header.body_sum = get<uint32_t>(p + 4);
  header.chain = get<uint32_t>(p + 8);
  header.length = get<uint32_t>(p + 12);
  header.type = static_cast<RecordType>(get<uint32_t>(p + 16));
  header.synced = get<uint32_t>(p + 20);
  header.zxid.value = get<int64_t>(p + 24);
  header.extra = get<uint32_t>(p + 32);
  header.committed.value = get<int64_t>(p + 40);
  if (header.length > kMaxBodyBytes || bytes.size() < kRecordHeaderBytes + header.length) {
    return false;
  }
  body = bytes.substr(kRecordHeaderBytes, header.length);
  return header.body_sum == crc32c(0, body);
}

}  // namespace zabfs::consensus::log_format
