#include "fsd/transfer/subtree.h"

#include <algorithm>
#include <utility>

#include "fsd/view/contenders.h"
#include "tree/access.h"
#include "tree/digests.h"
#include "tree/path.h"

namespace zabfs::fsd {

using transfer::Reason;
using tree::OwnerKind;

Subtree::Subtree(const tree::Tree& tree, const ViewOptions& options, const Caller& reader,
                 const std::string& directory, int64_t time_ms, MayReadNow may_read_now)
    : tree_(tree), options_(options), reader_(reader), may_read_now_(std::move(may_read_now)) {
  add(*tree.find(directory), directory, "");
  put(end_);
  transfer::Header header;
  header.zxid = tree.last_zxid();
  header.time_ms = time_ms;
  header.bytes = static_cast<int64_t>(bytes_);
  std::string first;
  encode(header, first);
  for (Piece& piece : pieces_) {
    piece.head += first.size();
    piece.offset += first.size();
  }
  pieces_.insert(pieces_.begin(), Piece{0, 0, {}});
  heads_.insert(0, first);
  bytes_ += first.size();
}

void Subtree::begin_piece(tree::Bytes data) {
  pieces_.push_back({heads_.size(), bytes_, std::move(data)});
}

void Subtree::put(const transfer::Record& record) {
  begin_piece({});
  encode(record, heads_);
  bytes_ += heads_.size() - pieces_.back().head;
}

void Subtree::leave_out(const std::string& name, Reason why) { put(transfer::LeftOut{name, why}); }

bool Subtree::allows(const View& view, const std::string& path, uint32_t wanted) const {
  if (!may(view, reader_, wanted)) return false;
  return reader_.uid == 0 || !may_read_now_ || may_read_now_(path);
}

// Digests are secret to who may not change the ACL, as everywhere.
void Subtree::note_acl(const tree::ZNode& node, const View& view, transfer::Entry& entry) {
  const tree::AclList& acl = tree_.acl_of(node);
  std::optional<tree::PosixEntry> posix = tree::find_posix(acl);
  entry.is_plain = !posix;
  tree::AclList rest;
  for (const tree::Acl& one : acl) {
    if (!tree::find_posix({one})) rest.push_back(one);
  }
  bool is_admin =
      reader_.uid == 0 ||
      (!may_read_now_ && (view.uid == reader_.uid ||
                          tree::acl_allows(acl, tree::kPermAdmin, tree::identities_of(reader_))));
  auto is_secret = [](const tree::Acl& one) { return tree::without_digests({one})[0] != one; };
  if (!is_admin && std::erase_if(rest, is_secret) > 0) leave_out(entry.path, Reason::kSecrets);
  if (posix && tree::with_posix({}, *posix) == tree::with_posix(rest, *posix)) return;
  if (rest.empty()) entry.is_plain = false;
  entry.acl = std::move(rest);
}

bool Subtree::add_alone(const tree::ZNode& node, const std::string& path, const std::string& name) {
  View view = view_of(tree_, node, path, options_);
  bool may_read = allows(view, path, kMayRead);
  bool is_directory = view.kind == tree::Kind::kDirectory;
  bool leads_nowhere =
      view.kind == tree::Kind::kSymlink &&
      (node.data.size() == 0 || node.data.view().find('\0') != std::string_view::npos);
  if (view.kind == tree::Kind::kSocket || leads_nowhere)
    return leave_out(name, Reason::kNoFile), false;
  bool is_kept_from = !may_read && view.kind == tree::Kind::kFile;
  if (is_kept_from) return leave_out(name, Reason::kNoAccess), false;

  transfer::Entry entry;
  entry.path = name;
  entry.kind = view.kind;
  entry.mode = view.mode;
  entry.uid = view.uid;
  entry.gid = view.gid;
  entry.mtime = view.mtime;
  OwnerKind owner = tree::owner_kind(node.stat.owner);
  entry.is_container = owner == OwnerKind::kContainer;
  if (owner == OwnerKind::kTtl) entry.ttl_ms = tree::owner_ttl_ms(node.stat.owner);
  note_acl(node, view, entry);
  bool has_data = view.kind != tree::Kind::kFifo && (!is_directory || may_read);
  tree::Bytes data = has_data ? node.data : tree::Bytes();
  end_.entries += 1;
  end_.bytes += static_cast<int64_t>(data.size());
  size_t size = data.size();
  begin_piece(std::move(data));
  encode_head(entry, size, heads_);
  bytes_ += heads_.size() - pieces_.back().head + size;
  return is_directory;
}

void Subtree::add(const tree::ZNode& node, const std::string& path, const std::string& name) {
  if (add_alone(node, path, name)) add_children(node, path, name);
}

void Subtree::add_children(const tree::ZNode& node, const std::string& path,
                           const std::string& name) {
  View view = view_of(tree_, node, path, options_);
  // Also of an empty one: whether there is anything in it is not for this reader to know.
  if (!allows(view, path, kMayRead | kMaySearch)) return leave_out(name, Reason::kNoAccess);
  std::vector<const tree::ZNode*> children;
  bool has_long_name = false;
  tree_.for_each_child(node, [&](const tree::ZNode& child) {
    if (!is_listed(child) || tree::owner_kind(child.stat.owner) == OwnerKind::kEphemeral) return;
    if (child.name.view().size() > tree::kMaxNameBytes) {
      has_long_name = true;
    } else {
      children.push_back(&child);
    }
  });
  if (has_long_name) leave_out(name, Reason::kLongName);
  std::sort(children.begin(), children.end(), [](const tree::ZNode* a, const tree::ZNode* b) {
    return a->name.view() < b->name.view();
  });
  for (const tree::ZNode* child : children) {
    if (is_too_large()) return;
    std::string below(child->name.view());
    add(*child, tree::join_path(path, below), name.empty() ? below : name + "/" + below);
  }
}

std::string Subtree::read(uint64_t offset, size_t size) const {
  std::string bytes;
  if (offset >= bytes_) return bytes;
  bytes.reserve(static_cast<size_t>(std::min<uint64_t>(size, bytes_ - offset)));
  auto after = std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                                [](uint64_t at, const Piece& piece) { return at < piece.offset; });
  for (auto piece = std::prev(after); piece != pieces_.end() && bytes.size() < size; ++piece) {
    auto next = std::next(piece);
    uint64_t head_end = next == pieces_.end() ? heads_.size() : next->head;
    std::string_view head = std::string_view(heads_).substr(piece->head, head_end - piece->head);
    auto skip = static_cast<size_t>(offset + bytes.size() - piece->offset);
    if (skip < head.size()) {
      bytes += head.substr(skip, size - bytes.size());
      skip = head.size();
    }
    if (bytes.size() == size) break;
    std::string_view data = piece->data.view();
    bytes += data.substr(std::min(skip - head.size(), data.size()), size - bytes.size());
  }
  return bytes;
}

}  // namespace zabfs::fsd
