// The preparation of zabfs's own requests (request.h): each becomes ZooKeeper's txns.
#include <algorithm>

#include "tree/path.h"
#include "tree/prepare.h"

namespace zabfs::tree {
namespace {

constexpr std::string_view kHiddenChild = "@";

Error check_identity(const std::optional<Record>& record, Zxid czxid) {
  if (!record) return Error::kNoNode;
  return czxid == kAnyCzxid || record->stat.czxid == czxid ? Error::kOk : Error::kStale;
}

std::optional<std::string_view> view_of(const Bytes& bytes) {
  if (bytes.is_null()) return std::nullopt;
  return bytes.view();
}

PosixEntry changed_posix(const AclList& acl, const PosixChange& change, int32_t version) {
  PosixEntry posix = changed(find_posix(acl).value_or(change.base), change);
  if (change.mtime) {
    posix.mtime = change.mtime;
    posix.mtime_version = version;
  }
  return posix;
}

int64_t growth_of(const Record& record, size_t bytes) {
  return static_cast<int64_t>(bytes) - static_cast<int64_t>(record.data.size());
}

bool is_valid(const PosixChange& change) {
  return is_valid(changed(change.base, change)) && is_valid(change.base);
}

void set_body(Txn& txn, Op op) {
  txn.header.type = op.type;
  std::visit([&txn](auto& body) { txn.body = std::move(body); }, op.body);
}

// A multi of one op is that op.
void set_body(Txn& txn, MultiTxn multi) {
  if (multi.ops.size() == 1) return set_body(txn, std::move(multi.ops[0]));
  txn.header.type = OpCode::kMulti;
  txn.body = std::move(multi);
}

}  // namespace

Error Preparer::prepare_ext(const Request& request, Txn& txn) {
  if (!acl_allows({{0, {"super", ""}}}, kPermAll, request.identities)) return Error::kNoAuth;
  auto run = [&](auto decoded, auto preparation) {
    return decoded ? (this->*preparation)(*decoded, txn) : Error::kMarshallingError;
  };
  if (request.type == OpCode::kExtWrite) {
    return run(decode_ext_write(request.body), &Preparer::prepare_ext_write);
  }
  if (request.type == OpCode::kExtAppend) {
    return run(decode_ext_append(request.body), &Preparer::prepare_ext_append);
  }
  if (request.type == OpCode::kExtRename) {
    return run(decode_ext_rename(request.body), &Preparer::prepare_ext_rename);
  }
  if (request.type == OpCode::kExtRemove) {
    return run(decode_ext_remove(request.body), &Preparer::prepare_ext_remove);
  }
  if (request.type == OpCode::kExtSetPosix) {
    return run(decode_ext_set_posix(request.body), &Preparer::prepare_ext_set_posix);
  }
  return Error::kUnimplemented;
}

// A symlink whose target is too long is shown as a file. A change of it on a mount means that file,
// and it is one from then on.
void Preparer::settle_kind(std::string_view path, std::optional<Record>& record) {
  std::optional<PosixEntry> posix = find_posix(*record->acl);
  if (!posix || posix->kind != Kind::kSymlink || shown_kind(*record) != Kind::kFile) return;
  posix->kind = Kind::kFile;
  emit_first(make_set_acl(path, *record, with_posix(*record->acl, *posix)));
  record = outstanding_.find(path);
}

Error Preparer::prepare_ext_write(const ExtWrite& ext, Txn& txn) {
  std::optional<Record> record = outstanding_.find(ext.path);
  Error identity = check_identity(record, ext.czxid);
  if (identity != Error::kOk) return identity;
  if (ext.version != kAnyVersion && ext.version != record->stat.version) return Error::kStale;
  if (ext.data.size() > options_.limits.data_bytes()) return Error::kTooLarge;
  if (ext.posix && !is_valid(*ext.posix)) return Error::kBadArguments;
  Error quota = check_growth(ext.path, {0, growth_of(*record, ext.data.size())});
  if (quota != Error::kOk) return quota;
  std::string_view path = keep(ext.path);
  settle_kind(path, record);
  if (ext.posix) {
    NodeStat then = record->stat;
    then.version += 1;
    then.mzxid = zxid_.next();  // behind the ACL's txn
    PosixEntry posix =
        changed_posix(*record->acl, *ext.posix, mtime_version(shown_kind(*record), then));
    emit_first(make_set_acl(path, *record, with_posix(*record->acl, posix)));
    record = outstanding_.find(path);
  }
  set_body(txn, make_set_data(path, std::move(*record), keep(ext.data)));
  return Error::kOk;
}

Error Preparer::prepare_ext_append(const ExtAppend& ext, Txn& txn) {
  std::optional<Record> record = outstanding_.find(ext.path);
  Error identity = check_identity(record, ext.czxid);
  if (identity != Error::kOk) return identity;
  if (record->data.size() + ext.data.size() > options_.limits.data_bytes()) return Error::kTooLarge;
  Error quota = check_growth(ext.path, {0, static_cast<int64_t>(ext.data.size())});
  if (quota != Error::kOk) return quota;
  std::string_view whole = keep(std::string(record->data.view()) + ext.data);
  std::string_view path = keep(ext.path);
  settle_kind(path, record);
  set_body(txn, make_set_data(path, std::move(*record), whole));
  return Error::kOk;
}

Error Preparer::prepare_ext_set_posix(const ExtSetPosix& ext, Txn& txn) {
  std::optional<Record> record = outstanding_.find(ext.path);
  Error identity = check_identity(record, ext.czxid);
  if (identity != Error::kOk) return identity;
  if (!is_valid(ext.change)) return Error::kBadArguments;
  settle_kind(keep(ext.path), record);
  PosixEntry posix =
      changed_posix(*record->acl, ext.change, mtime_version(shown_kind(*record), record->stat));
  AclList acl = with_posix(*record->acl, posix);
  set_body(txn, make_set_acl(keep(ext.path), std::move(*record), std::move(acl)));
  return Error::kOk;
}

Error Preparer::prepare_ext_remove(const ExtRemove& ext, Txn& txn) {
  std::optional<Record> record = outstanding_.find(ext.path);
  Error identity = check_identity(record, ext.czxid);
  if (identity != Error::kOk) return identity;
  if (ext.path == "/" || is_within(ext.path, "/zookeeper")) return Error::kNoAuth;
  MultiTxn multi;
  if (record->children > 0) {
    // Only the hidden child, which goes with its directory, may be left.
    std::string hidden = join_path(ext.path, kHiddenChild);
    if (!ext.directory || record->children > 1 || !outstanding_.find(hidden)) {
      return Error::kNotEmpty;
    }
    size_t size = 0;
    Error error = delete_subtree(hidden, multi, size);
    if (error != Error::kOk) return error;
  }
  multi.ops.push_back(make_delete(keep(ext.path)));
  set_body(txn, std::move(multi));
  return Error::kOk;
}

Error Preparer::delete_subtree(std::string_view top, MultiTxn& multi, size_t& size) {
  for (const std::string& name : outstanding_.children(top)) {
    Error error = delete_subtree(join_path(top, name), multi, size);
    if (error != Error::kOk) return error;
  }
  size += top.size() + 16;
  if (size > options_.limits.moved_bytes()) return Error::kTooLarge;
  multi.ops.push_back(make_delete(keep(std::string(top))));
  return Error::kOk;
}

// The ACL a moved znode gets: its own, with the times it shows pinned to what it will be, and with
// its inode number.
AclList Preparer::moved_acl(std::string_view from, const Record& record,
                            const NodeStat& then) const {
  std::optional<PosixEntry> posix = find_posix(*record.acl);
  if (!posix) return *record.acl;
  Kind kind = shown_kind(record);
  if (!posix->mtime || posix->mtime_version != mtime_version(kind, record.stat)) {
    posix->mtime = shown_mtime(kind, record.stat, record.times);
  }
  posix->mtime_version = mtime_version(kind, then);
  if (posix->inode == 0) posix->inode = inode_number(record.stat.czxid, from);
  return with_posix(*record.acl, *posix);
}

Error Preparer::copy_subtree(std::string_view from, std::string_view to, MultiTxn& multi,
                             size_t& size, std::optional<int64_t> owner) {
  Record record = *outstanding_.find(from);
  if (is_ephemeral(record)) return Error::kBusy;
  if (owner) record.stat.owner = *owner;
  std::vector<std::string> names = outstanding_.children(from);
  NodeStat made;
  made.mzxid = made.pzxid = zxid_;  // its children are made by the same txn
  AclList acl = moved_acl(from, record, made);
  size += to.size() + record.data.size() + encode_acl(acl).size() + 64;
  if (size > options_.limits.moved_bytes()) return Error::kTooLarge;
  OpCode type = OpCode::kCreate;
  if (owner_kind(record.stat.owner) == OwnerKind::kContainer) type = OpCode::kCreateContainer;
  if (owner_kind(record.stat.owner) == OwnerKind::kTtl) type = OpCode::kCreateTtl;
  std::optional<std::string_view> data;
  if (!record.data.is_null()) data = keep(std::string(record.data.view()));
  multi.ops.push_back(make_create(keep(std::string(to)), data, acl, type, record.stat.owner));
  for (const std::string& name : names) {
    Error error = copy_subtree(join_path(from, name), join_path(to, name), multi, size);
    if (error != Error::kOk) return error;
  }
  return Error::kOk;
}

Preparer::Amount Preparer::made_within(std::string_view top, const MultiTxn& multi) {
  Amount made;
  for (const Op& op : multi.ops) {
    const auto* create = std::get_if<CreateTxn>(&op.body);
    if (create == nullptr || !is_within(create->path, top)) continue;
    ++made.znodes;
    made.bytes += static_cast<int64_t>(create->data ? create->data->size() : 0);
  }
  return made;
}

Error Preparer::prepare_ext_rename(const ExtRename& ext, Txn& txn) {
  std::optional<Record> source = outstanding_.find(ext.from);
  Error identity = check_identity(source, ext.from_czxid);
  if (identity != Error::kOk) return identity;
  std::optional<Record> parent = outstanding_.find(parent_path(ext.to));
  if (!parent) return Error::kNoNode;
  if (is_ephemeral(*parent)) return Error::kNoChildrenForEphemerals;
  if (!is_valid_path(ext.to) || ext.to.size() > kMaxPathBytes) return Error::kBadArguments;
  if (ext.from == "/" || is_within(ext.to, ext.from) || is_within(ext.from, "/zookeeper") ||
      is_within(ext.to, "/zookeeper")) {
    return Error::kBadArguments;
  }
  if (is_ephemeral(*source)) return Error::kBusy;
  std::optional<Record> target = outstanding_.find(ext.to);
  if (target) {
    if (ext.to_czxid == kAbsent) return Error::kNodeExists;
    if (ext.to_czxid != kAnyCzxid && target->stat.czxid != ext.to_czxid) return Error::kStale;
  }
  if (ext.exchange) {
    if (!target) return Error::kNoNode;
    return exchange(ext, std::move(*source), std::move(*target), txn);
  }
  bool is_over_file = target && shown_kind(*source) == Kind::kFile &&
                      shown_kind(*target) == Kind::kFile && !is_ephemeral(*target);
  if (is_over_file && !options_.replaces_files) {
    return rename_over_file(ext, std::move(*source), std::move(*target), txn);
  }
  MultiTxn multi;
  size_t size = 0;
  Amount gone;
  if (target) {
    gone = {1, static_cast<int64_t>(target->data.size())};
    std::vector<std::string> names = outstanding_.children(ext.to);
    if (!names.empty() && !(names.size() == 1 && names[0] == kHiddenChild)) return Error::kNotEmpty;
    if (is_within(ext.from, ext.to)) return Error::kNotEmpty;  // the hidden child is the source
    if (is_ephemeral(*target)) return Error::kBusy;
    Error error = delete_subtree(ext.to, multi, size);
    if (error != Error::kOk) return error;
  }
  std::optional<int64_t> owner;  // what is replaced keeps its TTL
  if (is_over_file) owner = target->stat.owner;
  Error error = copy_subtree(ext.from, ext.to, multi, size, owner);
  if (error == Error::kOk) error = delete_subtree(ext.from, multi, size);
  if (error != Error::kOk) return error;
  Amount made = made_within(ext.to, multi);
  error = check_arrival(ext.from, ext.to, {made.znodes - gone.znodes, made.bytes - gone.bytes});
  if (error != Error::kOk) return error;
  set_body(txn, std::move(multi));
  return Error::kOk;
}

// The target keeps its czxid, and takes the source's data, mode, owner, times and inode number. The
// ACL goes first: the new data is never readable under the old mode.
Error Preparer::rename_over_file(const ExtRename& ext, Record source, Record target, Txn& txn) {
  std::string_view to = keep(ext.to);
  Error quota = check_arrival(ext.from, to, {0, growth_of(target, source.data.size())});
  if (quota != Error::kOk) return quota;
  NodeStat then = target.stat;
  then.version += 1;
  AclList acl = moved_acl(ext.from, source, then);
  if (acl != *target.acl) {
    emit_first(make_set_acl(to, target, std::move(acl)));
    target = *outstanding_.find(to);
  }
  std::optional<std::string_view> data = view_of(source.data);
  if (data) data = keep(std::string(*data));
  MultiTxn multi;
  multi.ops.push_back(make_set_data(to, std::move(target), data));
  multi.ops.push_back(make_delete(keep(ext.from)));
  set_body(txn, std::move(multi));
  return Error::kOk;
}

// RENAME_EXCHANGE: both subtrees are taken down and put up again under each other's names.
Error Preparer::exchange(const ExtRename& ext, Record source, Record target, Txn& txn) {
  if (is_within(ext.from, ext.to)) return Error::kBadArguments;
  if (is_ephemeral(source) || is_ephemeral(target)) return Error::kBusy;
  std::string aside = aside_path(ext.to);
  if (outstanding_.find(aside)) return Error::kNodeExists;
  MultiTxn multi;
  size_t size = 0;
  for (auto [from, to] :
       {std::pair(ext.to, aside), std::pair(ext.from, ext.to), std::pair(aside, ext.from)}) {
    Error error = copy_subtree(from, to, multi, size);
    if (error == Error::kOk) error = delete_subtree(from, multi, size);
    if (error != Error::kOk) return error;
  }
  Amount at_to = made_within(ext.to, multi), at_from = made_within(ext.from, multi);
  int64_t znodes = at_to.znodes - at_from.znodes, bytes = at_to.bytes - at_from.bytes;
  Error error = check_arrival(ext.from, ext.to, {znodes, bytes});
  if (error == Error::kOk) error = check_arrival(ext.to, ext.from, {-znodes, -bytes});
  if (error != Error::kOk) return error;
  set_body(txn, std::move(multi));
  return Error::kOk;
}

}  // namespace zabfs::tree
