#include "tree/java_log.h"

#include <libdeflate.h>

#include "tree/jute.h"
#include "tree/posix.h"
#include "tree/txn.h"
#include "tree/types.h"

namespace zabfs::tree {
namespace {

constexpr int32_t kLogMagic = 0x5A4B4C47;  // "ZKLG"
constexpr int32_t kLogVersion = 2;
constexpr int64_t kLogDatabase = 0;
constexpr size_t kLogHeaderBytes = 16;
constexpr size_t kEntryHeaderBytes = 12;
constexpr char kLastByte = 'B';

}  // namespace

Status JavaLogReader::wrong(const std::string& what) const {
  return Status::failed("offset " + std::to_string(offset_) + ": " + what);
}

Status JavaLogReader::feed(std::string_view bytes, const Sink& sink) {
  if (has_ended_) return {};
  pending_.append(bytes);
  Status status = has_header_ ? Status{} : take_header();
  if (!status.ok() || !has_header_) return status;
  std::string_view left = pending_;
  Taken taken = Taken::kYes;
  while (status.ok() && taken == Taken::kYes) status = take_entry(left, sink, taken);
  pending_.erase(0, pending_.size() - left.size());
  has_ended_ = taken == Taken::kEnd;
  return status;
}

Status JavaLogReader::take_header() {
  if (pending_.size() < kLogHeaderBytes) return {};
  if (jute::Reader(pending_).i32() != kLogMagic) {
    return wrong("this is no transaction log of ZooKeeper's (no \"ZKLG\")");
  }
  pending_.erase(0, kLogHeaderBytes);
  offset_ = kLogHeaderBytes;
  has_header_ = true;
  return {};
}

// Checksum, length, so many bytes, and a last one.
Status JavaLogReader::take_entry(std::string_view& left, const Sink& sink, Taken& taken) {
  taken = Taken::kMore;
  if (left.size() < kEntryHeaderBytes) return {};
  jute::Reader in(left);
  int64_t sum = in.i64();
  int32_t length = in.i32();
  if (length == 0) {
    taken = Taken::kEnd;
    return {};
  }
  if (length < 0 || static_cast<size_t>(length) > kMaxTxnBytes) {
    return wrong("an entry of " + std::to_string(length) + " bytes: the file is damaged here");
  }
  std::string_view txn = in.take(static_cast<size_t>(length));
  std::string_view last = in.take(1);
  if (!in.ok()) return {};
  if (last[0] != kLastByte) {
    taken = Taken::kEnd;
    is_torn_ = true;
    return {};
  }
  if (sum != int64_t{::libdeflate_adler32(1, txn.data(), txn.size())}) {
    return wrong("an entry with a wrong checksum: the file is damaged here");
  }
  taken = Taken::kYes;
  Status status = sink(offset_, txn);
  if (!status.ok()) return status;
  ++entries_;
  offset_ += kEntryHeaderBytes + txn.size() + 1;
  left = in.rest();
  return {};
}

Status JavaLogReader::finish() const {
  return has_header_ ? Status{} : wrong("the file is cut off in its header");
}

// ---- writing

std::string java_log_head() {
  std::string bytes;
  jute::Writer out(bytes);
  out.i32(kLogMagic);
  out.i32(kLogVersion);
  out.i64(kLogDatabase);
  return bytes;
}

void append_java_log_entry(std::string_view txn, std::string& bytes) {
  jute::Writer out(bytes);
  out.i64(int64_t{::libdeflate_adler32(1, txn.data(), txn.size())});
  out.string(txn);
  out.byte(kLastByte);
}

namespace {

// Of an op of a multi, or of a transaction of its own.
template <typename Body>
void drop_posix(Body& body) {
  if (auto* create = std::get_if<CreateTxn>(&body)) {
    create->acl = without_posix(std::move(create->acl));
  } else if (auto* set = std::get_if<SetAclTxn>(&body)) {
    set->acl = without_posix(std::move(set->acl));
  }
}

}  // namespace

std::optional<std::string> java_txn(std::string_view bytes) {
  std::optional<Txn> txn = decode_txn(bytes);
  if (!txn) return std::nullopt;
  txn->origin = {};
  drop_posix(txn->body);
  if (auto* multi = std::get_if<MultiTxn>(&txn->body)) {
    for (Op& op : multi->ops) drop_posix(op.body);
  }
  std::string java;
  encode_txn(*txn, java);
  return java;
}

}  // namespace zabfs::tree
