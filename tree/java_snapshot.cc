#include "tree/java_snapshot.h"

#include <libdeflate.h>

#include <algorithm>
#include <map>

#include "tree/java_snapshot_format.h"
#include "tree/jute.h"
#include "tree/posix.h"
#include "tree/snapshot_parts.h"

namespace zabfs::tree {
namespace {

constexpr size_t kSnapshotHeaderBytes = 16;
constexpr size_t kSealBytes = 13;
// Behind the znodes: up to three seals, a digest and a zxid.
constexpr size_t kMaxEndBytes = 256;
constexpr int64_t kOpenAclId = -1;

uint32_t adler32(uint32_t sum, std::string_view bytes) {
  return ::libdeflate_adler32(sum, bytes.data(), bytes.size());
}

}  // namespace

// ---- reading

Status JavaSnapshotReader::wrong(const std::string& what) const {
  return Status::failed("byte " + std::to_string(offset_) + " of the snapshot: " + what);
}

void JavaSnapshotReader::consume(size_t bytes) {
  sum_ = adler32(sum_, std::string_view(pending_).substr(0, bytes));
  offset_ += bytes;
  pending_.erase(0, bytes);
}

Status JavaSnapshotReader::feed(std::string_view bytes) {
  pending_.append(bytes);
  Status status;
  if (!has_header_) status = take_header();
  if (status.ok() && has_header_ && !has_tree_) status = take_tree();
  if (status.ok() && has_tree_ && pending_.size() > kMaxEndBytes) {
    return wrong("more follows the znodes than ZooKeeper 3.4 to 3.9 write");
  }
  return status;
}

Status JavaSnapshotReader::take_header() {
  if (pending_.size() < kSnapshotHeaderBytes) return {};
  jute::Reader in(pending_);
  if (in.i32() != kJavaSnapshotMagic)
    return wrong("this is no snapshot of ZooKeeper's (no \"ZKSN\")");
  if (int32_t version = in.i32(); version != kJavaSnapshotVersion) {
    return wrong("format version " + std::to_string(version) + "; only version 2 is known");
  }
  consume(kSnapshotHeaderBytes);
  has_header_ = true;
  return {};
}

Status JavaSnapshotReader::take_tree() {
  std::string_view input = pending_;
  SnapshotLoader::State state = loader_.feed(input);
  consume(pending_.size() - input.size());
  has_tree_ = state == SnapshotLoader::State::kDone;
  if (state == SnapshotLoader::State::kBad) {
    return wrong("no session, ACL or znode as ZooKeeper writes them");
  }
  return {};
}

// A checksum of all before it, and "/".
Status JavaSnapshotReader::take_seal(std::string_view& end) {
  jute::Reader in(end);
  int64_t sum = in.i64();
  std::string_view mark = in.string();
  if (!in.ok() || mark != "/") return wrong("the file is cut off in its checksum");
  if (sum != int64_t{sum_}) return wrong("the checksum is wrong: the file is damaged before");
  consume(kSealBytes);
  end = pending_;
  return {};
}

Status JavaSnapshotReader::take_digest(std::string_view& end, Zxid zxid, JavaSnapshot& snapshot) {
  jute::Reader in(end);
  Zxid of{in.i64()};
  int32_t version = in.i32();
  int64_t digest = 0;
  if (version < kJavaDigestVersion) {
    in.string();  // in hexadecimal, by rules that no server has any more
  } else {
    digest = in.i64();
  }
  if (!in.ok()) return wrong("the file is cut off in the digest");
  if (of >= zxid && of.value != 0 && version == kJavaDigestVersion) {
    snapshot.digest_zxid = of;
    snapshot.digest = digest;
  }
  consume(end.size() - in.rest().size());
  end = pending_;
  return take_seal(end);
}

StatusOr<JavaSnapshot> JavaSnapshotReader::finish(Zxid zxid) {
  if (!has_tree_) return wrong("the file is cut off");
  std::string_view end = pending_;
  constexpr size_t kZxidAndSeal = sizeof(int64_t) + kSealBytes;  // of 3.9
  JavaSnapshot snapshot;
  Status status = take_seal(end);
  if (status.ok() && end.size() > kZxidAndSeal) status = take_digest(end, zxid, snapshot);
  if (status.ok() && end.size() >= kZxidAndSeal) {
    consume(sizeof(int64_t));
    end = pending_;
    status = take_seal(end);
  }
  if (status.ok() && !end.empty()) status = wrong("the file is cut off behind its first checksum");
  if (!status.ok()) return status;
  snapshot.tree = loader_.finish(zxid);
  return snapshot;
}

// ---- writing

JavaSnapshotWriter::JavaSnapshotWriter(const Tree& tree) : tree_(tree) {
  collect_acls();
  for (const auto& [id, session] : tree.sessions()) {
    if (session.attachment != kFirstAttachment) ++left_out_.attachments;
  }
  stack_.push_back(&tree.root());
}

// The lists as Java gets them, each once, and the id that each number of the tree has there.
void JavaSnapshotWriter::collect_acls() {
  constexpr int64_t kNotSeen = 0;
  std::map<std::string, int64_t> ids{{encode_acl(open_acl()), kOpenAclId}};
  std::vector<bool> has_posix;
  std::vector<const ZNode*> left{&tree_.root()};
  while (!left.empty()) {
    const ZNode& node = *left.back();
    left.pop_back();
    tree_.for_each_child(node, [&left](const ZNode& child) { left.push_back(&child); });
    if (node.times != ChangeTimes()) ++left_out_.change_times;
    if (node.acl >= acl_ids_.size()) {
      acl_ids_.resize(node.acl + 1, kNotSeen);
      has_posix.resize(node.acl + 1, false);
    }
    if (acl_ids_[node.acl] == kNotSeen) {
      AclList list = tree_.acl_of(node);
      has_posix[node.acl] = find_posix(list).has_value();
      list = without_posix(std::move(list));
      auto [known, is_new] =
          ids.try_emplace(encode_acl(list), static_cast<int64_t>(acls_.size() + 1));
      if (is_new) acls_.push_back(std::move(list));
      acl_ids_[node.acl] = known->second;
    }
    if (has_posix[node.acl]) ++left_out_.posix_entries;
  }
}

std::string JavaSnapshotWriter::head() const {
  std::string bytes;
  jute::Writer out(bytes);
  out.i32(kJavaSnapshotMagic);
  out.i32(kJavaSnapshotVersion);
  out.i64(kJavaDatabase);
  out.count(tree_.sessions().size());
  for (const auto& [id, session] : tree_.sessions()) {
    out.i64(id.value);
    out.i32(session.timeout_ms);
  }
  out.count(acls_.size());
  for (size_t i = 0; i < acls_.size(); ++i) {
    out.i64(static_cast<int64_t>(i + 1));
    write_acl(out, acls_[i]);
  }
  return bytes;
}

void JavaSnapshotWriter::write_znode(std::string& bytes, const ZNode& node) {
  jute::Writer out(bytes);
  out.string(node.parent == kNoNodeId ? std::string() : tree_.path_of(node));
  out.buffer(node.data.is_null() ? std::nullopt : std::optional(node.data.view()));
  out.i64(acl_ids_[node.acl]);
  write_node_stat(out, node.stat);
  ++written_;
  tree_.for_each_child(node, [this](const ZNode& child) { stack_.push_back(&child); });
}

void JavaSnapshotWriter::append_seal(std::string& bytes) {
  jute::Writer out(bytes);
  out.i64(int64_t{sum_});
  out.string("/");
}

bool JavaSnapshotWriter::next(std::string& out, size_t limit_bytes) {
  if (has_ended_) return false;
  size_t begin = out.size();
  auto add_to_sum = [&] {
    sum_ = adler32(sum_, std::string_view(out).substr(begin));
    begin = out.size();
  };
  if (!has_begun_) out += head();
  has_begun_ = true;
  for (size_t end = begin + limit_bytes; !stack_.empty() && out.size() < end;) {
    const ZNode* node = stack_.back();
    stack_.pop_back();
    write_znode(out, *node);
  }
  has_ended_ = stack_.empty();
  if (has_ended_) jute::Writer(out).string("/");
  add_to_sum();
  if (!has_ended_) return true;
  append_seal(out);
  jute::Writer end(out);
  end.i64(tree_.last_zxid().value);
  end.i32(kJavaDigestVersion);
  end.i64(tree_.digest());
  add_to_sum();
  append_seal(out);
  return true;
}

}  // namespace zabfs::tree
