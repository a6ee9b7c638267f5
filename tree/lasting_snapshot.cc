#include "tree/lasting_snapshot.h"

#include <algorithm>

#include "tree/acl.h"
#include "tree/snapshot_parts.h"
#include "tree/tree.h"

namespace zabfs::tree {
namespace {

// Both are at the front of the same bytes.
std::string_view consumed(std::string_view from, const jute::Reader& in) {
  return from.substr(0, from.size() - in.rest().size());
}

int64_t sum_of_digests(int64_t one, int64_t other) {
  return static_cast<int64_t>(static_cast<uint64_t>(one) + static_cast<uint64_t>(other));
}

}  // namespace

Status LastingSnapshot::feed(std::string_view bytes, std::string& out) {
  pending_.append(bytes);
  std::string_view input = pending_;
  while (!bad_ && !input.empty()) {
    jute::Reader in(input);
    if (!take_element(in, input, out)) break;
    input = in.rest();
  }
  offset_ += pending_.size() - input.size();
  pending_.erase(0, pending_.size() - input.size());
  if (!bad_ && pending_.size() <= kMaxElementBytes) return {};
  return Status::failed("byte " + std::to_string(offset_) + " of the tree is no part of one");
}

Status LastingSnapshot::finish() const {
  if (section_ == Section::kTimes && pending_.empty() && !bad_) return {};
  return Status::failed("the tree is cut short at byte " +
                        std::to_string(offset_ + pending_.size()));
}

bool LastingSnapshot::take_element(jute::Reader& in, std::string_view from, std::string& out) {
  switch (section_) {
    case Section::kSessionCount:
    case Section::kAclCount:
      return take_count(in, out);
    case Section::kSessions:  // of a session: its id and its timeout
      if (in.take(12).empty()) return false;
      ++counts_.sessions;
      if (--left_ == 0) section_ = Section::kAclCount;
      return true;
    case Section::kAcls:
      return take_acl(in, from, out);
    case Section::kNodes:
      return take_node(in, from, out);
    case Section::kTimes:
      return take_times(in, out);
  }
  return false;
}

bool LastingSnapshot::take_count(jute::Reader& in, std::string& out) {
  int32_t count = in.i32();
  if (!in.ok()) return false;
  left_ = count < 0 ? 0 : static_cast<uint64_t>(count);
  bool of_sessions = section_ == Section::kSessionCount;
  jute::Writer(out).count(of_sessions ? 0 : left_);
  if (of_sessions) {
    section_ = left_ == 0 ? Section::kAclCount : Section::kSessions;
  } else {
    section_ = left_ == 0 ? Section::kNodes : Section::kAcls;
  }
  return true;
}

// Attachments are of sessions. Their number counts among the ACLs, and has gone out already: so an
// empty list stays.
bool LastingSnapshot::take_acl(jute::Reader& in, std::string_view from, std::string& out) {
  int64_t id = in.i64();
  size_t entries = in.count(12);
  for (size_t i = 0; i < entries && in.ok(); ++i) {
    in.i32();
    in.string();
    in.string();
  }
  if (!in.ok()) return false;
  if (id <= kFirstAttachmentsId) {
    jute::Writer entry(out);
    entry.i64(id);
    entry.count(0);
  } else {
    out.append(consumed(from, in));
  }
  if (--left_ == 0) section_ = Section::kNodes;
  return true;
}

bool LastingSnapshot::take_node(jute::Reader& in, std::string_view from, std::string& out) {
  std::string_view path = in.string();
  if (!in.ok()) return false;
  if (path == "/") {
    out.append(consumed(from, in));
    section_ = Section::kTimes;
    return true;
  }
  std::optional<std::string_view> data = in.buffer();
  in.i64();  // its ACL
  NodeStat stat = read_node_stat(in);
  if (!in.ok()) return false;
  uint32_t place = place_++;
  if (owner_kind(stat.owner) == OwnerKind::kEphemeral) {
    left_out_.push_back(place);
    ++counts_.ephemerals;
    return true;
  }
  out.append(consumed(from, in));
  ++counts_.znodes;
  counts_.data_bytes += data ? data->size() : 0;
  Bytes bytes = data ? Bytes(*data) : Bytes();
  counts_.digest = sum_of_digests(counts_.digest, node_digest(path, bytes, stat));
  return true;
}

bool LastingSnapshot::take_times(jute::Reader& in, std::string& out) {
  std::string_view mark = in.string();
  int32_t count = in.i32();
  if (!in.ok()) return false;
  bad_ = mark != kTimesMark || count < 0 || static_cast<size_t>(count) > kTimesInBlock;
  if (bad_) return false;
  std::string entries;
  jute::Writer kept(entries);
  size_t kept_count = 0;
  for (; count > 0; --count) {
    auto place = static_cast<uint32_t>(in.i32());
    int64_t children_ms = in.i64(), acl_ms = in.i64();
    if (!in.ok()) return false;
    auto next = std::lower_bound(left_out_.begin(), left_out_.end(), place);
    if (next != left_out_.end() && *next == place) continue;
    kept.i32(static_cast<int32_t>(place - static_cast<uint32_t>(next - left_out_.begin())));
    kept.i64(children_ms);
    kept.i64(acl_ms);
    ++kept_count;
  }
  if (kept_count == 0) return true;
  jute::Writer block(out);
  block.string(kTimesMark);
  block.count(kept_count);
  block.raw(entries);
  return true;
}

}  // namespace zabfs::tree
