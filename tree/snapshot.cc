#include "tree/snapshot.h"

#include <algorithm>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <utility>

#include "tree/path.h"
#include "tree/snapshot_parts.h"

namespace zabfs::tree {
namespace {

// Java keeps world:anyone ALL under -1, outside the map; so do we, for our number 0.
constexpr int64_t kOpenAclId = -1;

int64_t acl_id(AclTable::Number number) { return number == 0 ? kOpenAclId : int64_t{number}; }

constexpr std::string_view kAttachmentScheme = "zabfs-attachment";
constexpr std::string_view kWithSecret = ":s";
constexpr size_t kAttachmentsInList = 1'000;

std::vector<AclList> write_attachments(const std::map<SessionId, Session>& sessions) {
  std::vector<AclList> lists;
  for (const auto& [id, session] : sessions) {
    if (session.attachment == kFirstAttachment && !session.is_with_secret) continue;
    if (lists.empty() || lists.back().size() == kAttachmentsInList) lists.emplace_back();
    char text[40];
    std::snprintf(text, sizeof(text), "%" PRIx64 ":%" PRIx64, static_cast<uint64_t>(id.value),
                  static_cast<uint64_t>(session.attachment.value));
    std::string entry = text;
    if (session.home != kAnywhere) {
      std::snprintf(text, sizeof(text), ":%x", static_cast<unsigned int>(session.home));
      entry += text;
    }
    if (session.is_with_secret) entry += kWithSecret;
    lists.back().push_back({0, {std::string(kAttachmentScheme), std::move(entry)}});
  }
  return lists;
}

void read_attachments(const AclList& list, std::map<SessionId, Session>& sessions) {
  for (const Acl& entry : list) {
    uint64_t session = 0, attachment = 0;
    std::string_view text = entry.who.id;
    bool is_with_secret = text.ends_with(kWithSecret);
    if (is_with_secret) text.remove_suffix(kWithSecret.size());
    const char* end = text.data() + text.size();
    auto [colon, no_session] = std::from_chars(text.data(), end, session, 16);
    if (no_session != std::errc() || colon == end || *colon != ':') continue;
    auto [next, no_attachment] = std::from_chars(colon + 1, end, attachment, 16);
    if (no_attachment != std::errc()) continue;
    uint8_t home = 0;
    bool has_home = next != end && *next == ':' &&
                    std::from_chars(next + 1, end, home, 16).ec == std::errc() && home != 0;
    auto found = sessions.find(SessionId{static_cast<int64_t>(session)});
    if (found == sessions.end()) continue;
    found->second.attachment.value = static_cast<int64_t>(attachment);
    bool is_attached = found->second.attachment != kFirstAttachment;
    found->second.home = has_home ? home : is_attached ? kAnywhere : kWhereItWasMade;
    found->second.is_with_secret = is_with_secret;
  }
}

std::string times_head() {
  std::string head;
  jute::Writer(head).string(kTimesMark);
  return head;
}

static_assert(kMaxElementBytes >= kMaxTxnBytes);

// Of a Stat, as it is kept and as clients get it.
template <class AnyStat>
void write_beginning(jute::Writer& out, const AnyStat& stat) {
  out.i64(stat.czxid.value);
  out.i64(stat.mzxid.value);
  out.i64(stat.ctime_ms);
  out.i64(stat.mtime_ms);
  out.i32(stat.version);
  out.i32(stat.cversion);
  out.i32(stat.aversion);
}

}  // namespace

void write_node_stat(jute::Writer& out, const NodeStat& stat) {
  write_beginning(out, stat);
  out.i64(stat.owner);
  out.i64(stat.pzxid.value);
}

NodeStat read_node_stat(jute::Reader& in) {
  NodeStat stat;
  stat.czxid.value = in.i64();
  stat.mzxid.value = in.i64();
  stat.ctime_ms = in.i64();
  stat.mtime_ms = in.i64();
  stat.version = in.i32();
  stat.cversion = in.i32();
  stat.aversion = in.i32();
  stat.owner = in.i64();
  stat.pzxid.value = in.i64();
  return stat;
}

void write_stat(jute::Writer& out, const Stat& stat) {
  write_beginning(out, stat);
  out.i64(stat.ephemeral_owner);
  out.i32(stat.data_length);
  out.i32(stat.num_children);
  out.i64(stat.pzxid.value);
}

SnapshotCursor::SnapshotCursor(Tree& tree) : tree_(tree), zxid_(tree.last_zxid_) {
  tree_.snapshot_ = this;
  ++tree_.snapshot_mark_;
  stack_.push_back(tree_.root_);
  jute::Writer out(head_);
  out.count(tree_.sessions_.size());
  for (const auto& [id, session] : tree_.sessions_) {
    out.i64(id.value);
    out.i32(session.timeout_ms);
  }
  std::vector<AclList> attachments = write_attachments(tree_.sessions_);
  out.count(tree_.acls_.size() - 1 + attachments.size());
  // A znode that changes from here on is kept with its number of now, whatever that means by then.
  tree_.acls_.for_each([&out](AclTable::Number number, const AclList& list) {
    if (number == 0) return;
    out.i64(acl_id(number));
    write_acl(out, list);
  });
  int64_t id = kFirstAttachmentsId;
  for (const AclList& list : attachments) {
    out.i64(id--);
    write_acl(out, list);
  }
}

SnapshotCursor::~SnapshotCursor() {
  tree_.snapshot_ = nullptr;
  for (NodeId id : tree_.graveyard_) tree_.release(id);
  tree_.graveyard_.clear();
}

void SnapshotCursor::keep(NodeId id) {
  const ZNode& node = tree_.node(id);
  if (node.snapshot_mark == tree_.snapshot_mark_) return;
  auto [entry, added] = kept_.try_emplace(id);
  if (!added) return;
  Kept& kept = entry->second;
  kept.stat = node.stat;
  kept.times = node.times;
  kept.data = node.data;
  kept.acl = node.acl;
  kept.children.reserve(node.children.size());
  node.children.for_each([&kept](NodeId child) { kept.children.push_back(child); });
}

void SnapshotCursor::write_node(std::string& bytes, NodeId id) {
  const ZNode& node = tree_.node(id);
  jute::Writer out(bytes);
  out.string(node.parent == kNoNodeId ? std::string() : tree_.path_of(node));
  auto write_rest = [&](const auto& state) {
    out.buffer(state.data.is_null() ? std::nullopt : std::optional(state.data.view()));
    out.i64(acl_id(state.acl));
    write_node_stat(out, state.stat);
    if (state.times != ChangeTimes()) times_.push_back({written_, state.times});
    ++written_;
  };
  auto kept = kept_.find(id);
  if (kept != kept_.end()) {
    write_rest(kept->second);
    stack_.insert(stack_.end(), kept->second.children.begin(), kept->second.children.end());
    kept_.erase(kept);
  } else {
    write_rest(node);
    node.children.for_each([this](NodeId child) { stack_.push_back(child); });
  }
  node.snapshot_mark = tree_.snapshot_mark_;
}

bool SnapshotCursor::next(std::string& out, size_t limit_bytes) {
  if (ended_) return next_times(out);
  size_t end = out.size() + limit_bytes;
  out += std::exchange(head_, std::string());
  while (!stack_.empty() && out.size() < end) {
    NodeId id = stack_.back();
    stack_.pop_back();
    write_node(out, id);
  }
  if (stack_.empty()) {
    jute::Writer(out).string("/");
    ended_ = true;
  }
  return true;
}

bool SnapshotCursor::next_times(std::string& out) {
  size_t count = std::min(times_.size() - times_written_, kTimesInBlock);
  if (count == 0) return false;
  jute::Writer block(out);
  block.string(kTimesMark);
  block.count(count);
  for (; count > 0; --count) {
    const TimesEntry& entry = times_[times_written_++];
    block.i32(static_cast<int32_t>(entry.place));
    block.i64(entry.times.children_ms);
    block.i64(entry.times.acl_ms);
  }
  return true;
}

bool is_times_block(std::string_view piece) { return piece.starts_with(times_head()); }

SnapshotLoader::SnapshotLoader(bool fuzzy) : fuzzy_(fuzzy), tree_(std::make_unique<Tree>()) {
  // An empty tree without even the root's own children.
  tree_->slab_.clear();
  tree_->next_unused_ = 0;
  tree_->node_count_ = 0;
  tree_->data_bytes_ = 0;
  tree_->digest_ = 0;
  tree_->acls_ = AclTable();
  tree_->root_ = tree_->allocate();
  tree_->acls_.hold(tree_->node(tree_->root_).acl);
  acl_numbers_[kOpenAclId] = 0;
}

SnapshotLoader::State SnapshotLoader::feed(std::string_view& input) {
  while (!done_ && !bad_) {
    jute::Reader in(input);
    bool whole = read_element(in);
    if (!whole) {
      if (input.size() > kMaxElementBytes) bad_ = true;
      break;
    }
    input = in.rest();
  }
  if (bad_) return State::kBad;
  return done_ ? State::kDone : State::kMore;
}

SnapshotLoader::State SnapshotLoader::feed_times(std::string_view& input) {
  const std::string head = times_head();
  while (input.starts_with(head)) {
    jute::Reader in(input);
    in.string();
    int32_t count = in.i32();
    if (in.ok() && (count < 0 || static_cast<size_t>(count) > kTimesInBlock)) return State::kBad;
    for (; in.ok() && count > 0; --count) {
      auto place = static_cast<uint32_t>(in.i32());
      ChangeTimes times{in.i64(), in.i64()};
      if (!in.ok()) break;
      if (place >= tree_->next_unused_) return State::kBad;
      tree_->mutable_node(place).times = times;  // znodes were numbered as they came
    }
    if (!in.ok()) return State::kMore;
    input = in.rest();
  }
  return head.starts_with(input) ? State::kMore : State::kDone;
}

bool SnapshotLoader::read_element(jute::Reader& in) {
  switch (section_) {
    case Section::kSessionCount:
    case Section::kAclCount: {
      int32_t n = in.i32();
      if (!in.ok()) return false;
      left_ = n < 0 ? 0 : static_cast<size_t>(n);
      section_ = section_ == Section::kSessionCount ? Section::kSessions : Section::kAcls;
      return true;
    }
    case Section::kSessions: {
      if (left_ == 0) {
        section_ = Section::kAclCount;
        return true;
      }
      SessionId session{in.i64()};
      int32_t timeout_ms = in.i32();
      if (!in.ok()) return false;
      tree_->sessions_[session] = Session{timeout_ms};
      --left_;
      return true;
    }
    case Section::kAcls: {
      if (left_ == 0) {
        section_ = Section::kNodes;
        return true;
      }
      int64_t id = in.i64();
      AclList acl = read_acl(in);
      if (!in.ok()) return false;
      --left_;
      if (id <= kFirstAttachmentsId) {
        read_attachments(acl, tree_->sessions_);
      } else {
        acl_numbers_[id] = tree_->acls_.intern(acl);
      }
      return true;
    }
    case Section::kNodes:
      read_node(in);
      return in.ok();
  }
  return false;
}

void SnapshotLoader::read_node(jute::Reader& in) {
  std::string_view path = in.string();
  if (!in.ok()) return;
  if (path == "/") {
    adopt_children();
    done_ = true;
    bad_ = bad_ || !saw_root_;
    return;
  }
  std::optional<std::string_view> data = in.buffer();
  int64_t acl = in.i64();
  NodeStat stat = read_node_stat(in);
  if (!in.ok()) return;
  auto known = acl_numbers_.find(acl);
  bool has_acl = known != acl_numbers_.end();
  if (!has_acl && !fuzzy_) {
    bad_ = true;
    return;
  }
  AclTable::Number number = has_acl ? known->second : 0;
  Bytes bytes = data ? Bytes(*data) : Bytes();
  if (path.empty()) {
    ZNode& root = tree_->mutable_node(tree_->root_);
    root.stat = stat;
    root.data = std::move(bytes);
    tree_->acls_.let_go(std::exchange(root.acl, tree_->acls_.hold(number)));
    if (!has_acl) tree_->without_acl_.insert(tree_->root_);
    tree_->node_count_ = 1;
    tree_->put_on_digest(tree_->root_, "/");
    bad_ = bad_ || std::exchange(saw_root_, true);
    return;
  }
  std::string_view parent = parent_path(path);
  if (last_parent_id_ == kNoNodeId || parent != last_parent_) {
    adopt_children();
    last_parent_ = parent;
    last_parent_id_ = tree_->find_id(parent);
  }
  std::string_view name = base_name(path);
  if (!saw_root_ || path[0] != '/' || name.empty() || last_parent_id_ == kNoNodeId) {
    bad_ = true;
    return;
  }
  NodeId id = tree_->allocate();
  ZNode& node = tree_->mutable_node(id);
  node.name = Name(name);
  node.parent = last_parent_id_;
  node.stat = stat;
  tree_->data_bytes_ += bytes.size();
  node.data = std::move(bytes);
  node.acl = tree_->acls_.hold(number);
  if (!has_acl) tree_->without_acl_.insert(id);
  tree_->put_on_digest(id, path);
  children_.push_back(id);
  ++tree_->node_count_;
  tree_->enlist_owner(id, true);
}

void SnapshotLoader::adopt_children() {
  if (children_.empty()) return;
  ChildTable& table = tree_->mutable_node(last_parent_id_).children;
  auto name_of = tree_->name_of();
  table.reserve(table.size() + children_.size(), name_of);
  for (NodeId id : children_) {
    if (table.find(name_of(id), name_of) != kNoNodeId) bad_ = true;
    table.insert(id, name_of);
  }
  children_.clear();
}

std::unique_ptr<Tree> SnapshotLoader::finish(Zxid zxid) {
  tree_->last_zxid_ = zxid;
  tree_->acls_.forget_unused();
  tree_->find_quotas();
  NodeId zookeeper = tree_->find_id(parent_path(kConfigPath));
  if (zookeeper != kNoNodeId && tree_->find_id(kConfigPath) == kNoNodeId) {  // of ZooKeeper 3.4
    NodeStat stat;
    stat.aversion = -1;
    tree_->attach(zookeeper, base_name(kConfigPath), stat, Bytes(""),
                  tree_->acls_.intern({{kPermRead, {"world", "anyone"}}}));
  }
  return std::move(tree_);
}

}  // namespace zabfs::tree
