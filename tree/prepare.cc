#include "tree/prepare.h"

#include <algorithm>
#include <cstdio>

#include "tree/access.h"
#include "tree/identities.h"
#include "tree/path.h"
#include "tree/prepare_decode.h"

namespace zabfs::tree {
namespace {

constexpr size_t kAclEntryBytes = 12;  // beside scheme and id

bool is_protected(std::string_view path) {
  return path == "/" || path == "/zookeeper" || path == "/zookeeper/quota" || path == kConfigPath;
}

bool is_ext(OpCode type) {
  return static_cast<int32_t>(type) >= static_cast<int32_t>(OpCode::kExtWrite);
}

// ZooKeeper's clients know no code of their own for it.
Error too_large(const Request& request) {
  return is_ext(request.type) ? Error::kTooLarge : Error::kBadArguments;
}

// Of an op, what can be long.
size_t payload_bytes(const Op& op) {
  if (const auto* create = std::get_if<CreateTxn>(&op.body)) {
    size_t bytes = create->path.size() + (create->data ? create->data->size() : 0);
    for (const Acl& entry : create->acl) bytes += entry.who.scheme.size() + entry.who.id.size();
    return bytes + create->acl.size() * kAclEntryBytes;
  }
  if (const auto* set = std::get_if<SetDataTxn>(&op.body)) return set->data ? set->data->size() : 0;
  return 0;
}

// Whether data of that size may go with the list's posix entry.
bool fits_posix(const AclList& acl, size_t bytes) {
  if (bytes <= kMaxTargetBytes) return true;
  std::optional<PosixEntry> posix = find_posix(acl);
  return !posix || posix->kind != Kind::kSymlink;
}

bool has_nul(std::string_view path) { return path.find('\0') != std::string_view::npos; }

bool is_sequential(int32_t flags) {
  return flags == kCreateSequential || flags == kCreateEphemeralSequential ||
         flags == kCreateTtlSequentialFlag;
}

std::string sequence_suffix(int32_t number) {
  char text[16];
  std::snprintf(text, sizeof(text), "%010d", number);
  return text;
}

}  // namespace

void Preparer::reset() {
  outstanding_.reset();
  session_changes_.clear();
}

void Preparer::applied(Zxid zxid) {
  outstanding_.applied(zxid);
  std::erase_if(session_changes_, [zxid](const auto& entry) { return entry.second.zxid <= zxid; });
}

// Against what is applied, as Java does (ZooKeeperServer.checkQuota).
Error Preparer::check_quota(std::string_view path, int64_t count, int64_t bytes) const {
  if (!options_.enforce_quota) return Error::kOk;
  std::string_view quota = tree_.quota_above(path);
  if (quota.empty()) return Error::kOk;
  const ZNode* limits_node = tree_.find(quota_znode(quota, kQuotaLimits));
  const ZNode* usage_node = tree_.find(quota_znode(quota, kQuotaStats));
  if (limits_node == nullptr || usage_node == nullptr) return Error::kOk;
  QuotaTrack limits = QuotaTrack::parse(limits_node->data.view());
  QuotaTrack usage = QuotaTrack::parse(usage_node->data.view());
  bool too_many = count > 0 && limits.hard_count > -1 && usage.count + count > limits.hard_count;
  bool too_large = bytes != 0 && limits.hard_bytes > -1 && usage.bytes + bytes > limits.hard_bytes;
  return too_many || too_large ? Error::kQuotaExceeded : Error::kOk;
}

Error Preparer::check_growth(std::string_view path, const Amount& growth) const {
  return check_quota(path, std::max<int64_t>(growth.znodes, 0), std::max<int64_t>(growth.bytes, 0));
}

Error Preparer::check_arrival(std::string_view from, std::string_view to,
                              const Amount& growth) const {
  if (tree_.quota_above(from) == tree_.quota_above(to)) return Error::kOk;
  return check_growth(to, growth);
}

bool Preparer::allows(const Record& record, int32_t wanted, const Request& request) const {
  return options_.skip_acl || acl_allows(*record.acl, wanted, request.identities);
}

bool Preparer::may_reach(std::string_view path, const Request& request) const {
  if (options_.skip_acl) return true;
  std::optional<Record> record;  // keeps the list that was found last
  return tree::may_reach(path, request.identities, [&](std::string_view above) {
    record = outstanding_.find(above);
    return record ? record->acl.get() : nullptr;
  });
}

// Beyond max_txn_bytes, for which packets and logs have room.
void Preparer::add_origin(const Request& request, std::vector<PreparedTxn>& out) {
  origin_.clear();
  write_origin(request, origin_);
  for (PreparedTxn& prepared : out) prepared.bytes += origin_;
}

std::vector<PreparedTxn> Preparer::prepare(const Request& request, Zxid first, int64_t time_ms) {
  std::vector<PreparedTxn> out;
  out_ = &out;
  zxid_ = first;
  time_ms_ = time_ms;
  arena_.clear();
  outstanding_.begin_request();
  Txn txn;
  txn.header.type = request.type;
  auto finish = [&] {
    txn.header.session = request.session;
    txn.header.cxid = request.cxid;
    txn.header.zxid = zxid_;
    txn.header.time_ms = time_ms;
    PreparedTxn& last = out.emplace_back();
    last.zxid = zxid_;
    encode_txn(txn, last.bytes);
  };
  Error error = prepare_body(request, txn);
  if (error == Error::kOk) {
    if (txn.header.type != OpCode::kError) txn.digest = outstanding_.digest();
    finish();
    bool fits = std::all_of(out.begin(), out.end(), [this](const PreparedTxn& prepared) {
      return prepared.bytes.size() <= options_.max_txn_bytes;
    });
    if (!fits) error = too_large(request);
  }
  if (error == Error::kOk && txn.digest) add_origin(request, out);
  if (error != Error::kOk) {
    outstanding_.roll_back();
    out.clear();
    zxid_ = first;
    txn.header.type = OpCode::kError;
    txn.body = ErrorTxn{error};
    txn.digest.reset();
    finish();
  }
  note_request(request);
  out_ = nullptr;
  return out;
}

PreparedTxn Preparer::refuse(const Request& request, Zxid zxid, int64_t time_ms, Error error) {
  Txn txn;
  txn.header = {request.session, request.cxid, zxid, time_ms, OpCode::kError};
  txn.body = ErrorTxn{error};
  PreparedTxn refusal{zxid, ""};
  encode_txn(txn, refusal.bytes);
  return refusal;
}

void Preparer::emit_first(Op op) {
  Txn txn;
  txn.header.type = op.type;
  txn.header.zxid = zxid_;
  txn.header.time_ms = time_ms_;
  std::visit([&txn](auto& body) { txn.body = std::move(body); }, op.body);
  txn.digest = outstanding_.digest();
  PreparedTxn& prepared = out_->emplace_back();
  prepared.zxid = zxid_;
  encode_txn(txn, prepared.bytes);
  zxid_ = zxid_.next();
}

Error Preparer::prepare_body(const Request& request, Txn& txn) {
  if (request.type == OpCode::kCreateSession) {
    jute::Reader in(request.body);
    CreateSessionTxn body{in.i32()};
    if (!in.done()) return Error::kMarshallingError;
    session_changes_[request.session] = {zxid_, new_session(request.cxid, body.timeout_ms)};
    txn.body = body;
    return Error::kOk;
  }
  if (request.type == OpCode::kExtAttach) return prepare_attach(request, txn);
  if (request.type == OpCode::kCloseSession) return prepare_close_session(request, txn);
  if (request.identities.size() > kMaxForwardedIdentities) return Error::kAuthFailed;
  if (request.type == OpCode::kMulti) return prepare_multi(request, txn);
  if (is_ext(request.type)) {
    Error error = check_session(request);
    return error == Error::kOk ? prepare_ext(request, txn) : error;
  }
  Op op{request.type, ErrorTxn{}};
  jute::Reader in(request.body);
  Error error = request.type == OpCode::kDeleteContainer
                    ? prepare_delete_container(request, op)
                    : prepare_op(request, request.type, in, op);
  if (error != Error::kOk) return error;
  txn.header.type = op.type;
  std::visit([&txn](auto& body) { txn.body = std::move(body); }, op.body);
  return Error::kOk;
}

Error Preparer::prepare_op(const Request& request, OpCode type, jute::Reader& in, Op& op) {
  op.type = type;
  if (is_create(type)) return prepare_create(request, type, in, op);
  if (type == OpCode::kDelete) return prepare_delete(request, in, op);
  if (type == OpCode::kSetData) return prepare_set_data(request, in, op);
  if (type == OpCode::kSetAcl) return prepare_set_acl(request, in, op);
  if (type == OpCode::kReconfig) return prepare_reconfig(request, op);
  // A bare check kills a Java server (FORMATS.md 7.2), so it never becomes a txn.
  return Error::kUnimplemented;
}

// The order of codes is Java's; a createTTL without TTL flags would stop a Java server
// (FORMATS.md 7.2).
Error Preparer::check_flags(OpCode type, int32_t flags, int64_t ttl_ms) const {
  if (flags < 0 || flags > kCreateTtlSequentialFlag) return Error::kBadArguments;
  if (has_ttl_flag(flags) && !options_.extended_types) return Error::kUnimplemented;
  bool is_ttl = type == OpCode::kCreateTtl;
  if (is_ttl && !options_.extended_types) return Error::kUnimplemented;
  if (has_ttl_flag(flags) != is_ttl) return Error::kBadArguments;
  if (is_ttl && (ttl_ms <= 0 || ttl_ms > kMaxTtlMs)) return Error::kBadArguments;
  return Error::kOk;
}

Error Preparer::prepare_create(const Request& request, OpCode type, jute::Reader& in, Op& op) {
  std::optional<std::string_view> given_path = in.buffer();
  std::optional<std::string_view> data = in.buffer();
  WantedAcl wanted_acl = read_wanted_acl(in, options_.acl_schemes);
  int32_t flags = in.i32();
  int64_t ttl_ms = type == OpCode::kCreateTtl ? in.i64() : -1;
  if (!in.ok()) return Error::kMarshallingError;
  if (Error error = check_flags(type, flags, ttl_ms); error != Error::kOk) return error;
  if (Error error = check_session(request); error != Error::kOk) return error;
  if (!given_path) return Error::kMarshallingError;
  std::string_view path = *given_path;
  if (path.find('/') == std::string_view::npos || has_nul(path)) return Error::kBadArguments;
  Result<AclList> acl = fix_wanted_acl(wanted_acl, request.identities, options_.acl_schemes);
  if (!acl.ok()) return acl.error();
  if (!fits_posix(*acl, data ? data->size() : 0)) return Error::kInvalidAcl;
  std::optional<Record> parent = outstanding_.find(parent_path(path));
  if (!may_make(*acl, parent ? *parent->acl : open_acl(), request.identities)) {
    return Error::kInvalidAcl;
  }
  if (!may_reach(path, request)) return Error::kNoAuth;
  if (!parent) return Error::kNoNode;
  if (!allows(*parent, kPermCreate, request)) return Error::kNoAuth;
  if (is_sequential(flags)) {
    path = keep(std::string(path) + sequence_suffix(parent->stat.cversion));
  }
  if (!is_valid_path(path) || path.size() > kMaxPathBytes) return Error::kBadArguments;
  if (data && data->size() > options_.limits.request_bytes()) return Error::kBadArguments;
  if (outstanding_.find(path)) return Error::kNodeExists;
  if (is_ephemeral(*parent)) return Error::kNoChildrenForEphemerals;
  auto bytes = static_cast<int64_t>(data ? data->size() : 0);
  if (Error error = check_quota(path, 1, bytes); error != Error::kOk) return error;

  int64_t owner = 0;
  if (type == OpCode::kCreateTtl) {
    owner = ttl_owner(ttl_ms);
  } else if (type == OpCode::kCreateContainer) {
    owner = kContainerOwner;  // whatever its flags say
  } else if (flags == kCreateEphemeral || flags == kCreateEphemeralSequential) {
    owner = request.session.value;
  }
  op = make_create(path, data, *acl, type, owner);
  return Error::kOk;
}

Error Preparer::prepare_delete(const Request& request, jute::Reader& in, Op& op) {
  std::optional<std::string_view> given_path = in.buffer();
  int32_t version = in.i32();
  if (!in.ok()) return Error::kMarshallingError;
  if (Error error = check_session(request); error != Error::kOk) return error;
  if (!given_path) return Error::kMarshallingError;
  std::string_view path = *given_path;
  if (path.find('/') == std::string_view::npos || has_nul(path) || is_protected(path)) {
    return Error::kBadArguments;
  }
  if (!may_reach(path, request)) return Error::kNoAuth;
  std::optional<Record> parent = outstanding_.find(parent_path(path));
  if (!parent) return Error::kNoNode;
  if (!allows(*parent, kPermDelete, request)) return Error::kNoAuth;
  std::optional<Record> record = outstanding_.find(path);
  if (!record) return Error::kNoNode;
  bool is_own = record->stat.owner != 0 && record->stat.owner == request.session.value;
  bool may = is_own || may_remove(*parent->acl, *record->acl, request.identities);
  if (!may && !options_.skip_acl) return Error::kNoAuth;
  if (version != kAnyVersion && version != record->stat.version) return Error::kBadVersion;
  if (record->children > 0) return Error::kNotEmpty;
  op = make_delete(path);
  return Error::kOk;
}

// From the reaper: the body is the bare path.
Error Preparer::prepare_delete_container(const Request& request, Op& op) {
  std::string_view path = request.body;
  if (is_protected(path)) return Error::kBadArguments;
  std::optional<Record> record = outstanding_.find(path);
  if (!record) return Error::kNoNode;
  if (record->children > 0) return Error::kNotEmpty;
  if (is_ephemeral(*record)) return Error::kBadVersion;
  op = make_delete(path);
  op.type = OpCode::kDeleteContainer;
  return Error::kOk;
}

Error Preparer::prepare_set_data(const Request& request, jute::Reader& in, Op& op) {
  std::string_view path = in.string();
  std::optional<std::string_view> data = in.buffer();
  int32_t version = in.i32();
  if (!in.ok()) return Error::kMarshallingError;
  if (Error error = check_session(request); error != Error::kOk) return error;
  if (!is_valid_path(path)) return Error::kBadArguments;
  if (!may_reach(path, request)) return Error::kNoAuth;
  std::optional<Record> record = outstanding_.find(path);
  if (!record) return Error::kNoNode;
  if (!allows(*record, kPermWrite, request)) return Error::kNoAuth;
  if (data && !fits_posix(*record->acl, data->size())) return Error::kBadArguments;
  auto growth =
      static_cast<int64_t>(data ? data->size() : 0) - static_cast<int64_t>(record->data.size());
  if (Error error = check_quota(path, 0, growth); error != Error::kOk) return error;
  if (version != kAnyVersion && version != record->stat.version) return Error::kBadVersion;
  op = make_set_data(path, std::move(*record), data);
  return Error::kOk;
}

Error Preparer::prepare_set_acl(const Request& request, jute::Reader& in, Op& op) {
  std::string_view path = in.string();
  WantedAcl wanted_acl = read_wanted_acl(in, options_.acl_schemes);
  int32_t version = in.i32();
  if (!in.ok()) return Error::kMarshallingError;
  if (Error error = check_session(request); error != Error::kOk) return error;
  if (!is_valid_path(path)) return Error::kBadArguments;
  Result<AclList> acl = fix_wanted_acl(wanted_acl, request.identities, options_.acl_schemes);
  if (!acl.ok()) return acl.error();
  std::optional<Record> record = outstanding_.find(path);
  bool may_have = may_change(record ? *record->acl : open_acl(), *acl, request.identities);
  if (!may_have || (record && !fits_posix(*acl, record->data.size()))) return Error::kInvalidAcl;
  if (!may_reach(path, request)) return Error::kNoAuth;
  if (!record) return Error::kNoNode;
  if (!allows(*record, kPermAdmin, request)) return Error::kNoAuth;
  if (version != kAnyVersion && version != record->stat.aversion) return Error::kBadVersion;
  op = make_set_acl(path, std::move(*record), std::move(*acl));
  return Error::kOk;
}

Error Preparer::prepare_check(const Request& request, jute::Reader& in, Op& op) {
  std::string_view path = in.string();
  int32_t version = in.i32();
  if (!in.ok()) return Error::kMarshallingError;
  if (Error error = check_session(request); error != Error::kOk) return error;
  if (!is_valid_path(path)) return Error::kBadArguments;
  if (!may_reach(path, request)) return Error::kNoAuth;
  std::optional<Record> record = outstanding_.find(path);
  if (!record) return Error::kNoNode;
  if (!allows(*record, kPermRead, request)) return Error::kNoAuth;
  if (version != kAnyVersion && version != record->stat.version) return Error::kBadVersion;
  op = Op{OpCode::kCheck, CheckTxn{path, record->stat.version + 1}};
  return Error::kOk;
}

Error Preparer::prepare_reconfig(const Request& request, Op& op) {
  if (!options_.plan_reconfig) return Error::kReconfigDisabled;
  if (Error error = check_session(request); error != Error::kOk) return error;
  Result<std::string> planned = options_.plan_reconfig(request.body, zxid_);
  if (!planned.ok()) return planned.error();
  std::optional<Record> record = outstanding_.find(kConfigPath);
  if (!record) return Error::kNoNode;
  if (!allows(*record, kPermWrite, request)) return Error::kNoAuth;
  record->stat.version = kAnyVersion - 1;  // it stays -1
  op = make_set_data(kConfigPath, std::move(*record), keep(std::move(*planned)));
  op.type = OpCode::kReconfig;
  return Error::kOk;
}

Error Preparer::prepare_multi(const Request& request, Txn& txn) {
  MultiTxn multi;
  size_t bytes = 0;
  Error failure = Error::kOk;
  jute::Reader in(request.body);
  while (true) {
    auto type = static_cast<OpCode>(in.i32());
    bool done = in.boolean();
    in.i32();
    if (!in.ok()) return Error::kMarshallingError;
    if (done) break;
    jute::Reader body = in;
    std::optional<OpCode> kind = take_multi_op(type, in);
    if (!kind) return Error::kMarshallingError;
    if (failure != Error::kOk) {
      multi.ops.push_back(Op{OpCode::kError, ErrorTxn{Error::kRuntimeInconsistency}});
      continue;
    }
    if (*kind == OpCode::kError) return Error::kMarshallingError;
    Op op{*kind, ErrorTxn{}};
    Error error = *kind == OpCode::kCheck ? prepare_check(request, body, op)
                                          : prepare_op(request, *kind, body, op);
    if (error == Error::kMarshallingError) return error;
    if (error != Error::kOk) {
      failure = error;
      op = Op{OpCode::kError, ErrorTxn{error}};
    }
    bytes += payload_bytes(op);
    // Before the rest of it is expanded, too.
    if (bytes > options_.max_txn_bytes) return too_large(request);
    multi.ops.push_back(std::move(op));
  }
  if (failure != Error::kOk) outstanding_.roll_back();
  txn.body = std::move(multi);
  return Error::kOk;
}

Op Preparer::make_create(std::string_view path, std::optional<std::string_view> data,
                         const AclList& acl, OpCode type, int64_t owner) {
  Record parent = *outstanding_.find(parent_path(path));
  parent.zxid = zxid_;
  parent.stat.pzxid = zxid_;
  parent.times.children_ms = time_ms_;
  parent.stat.cversion += 1;
  parent.children += 1;
  CreateTxn txn;
  txn.path = path;
  txn.data = data;
  txn.acl = acl;
  txn.ephemeral = owner_kind(owner) == OwnerKind::kEphemeral;
  txn.parent_cversion = parent.stat.cversion;
  if (type == OpCode::kCreateTtl) txn.ttl_ms = owner_ttl_ms(owner);
  outstanding_.put(parent_path(path), std::move(parent));

  Record record;
  record.zxid = zxid_;
  record.stat.czxid = record.stat.mzxid = record.stat.pzxid = zxid_;
  record.stat.ctime_ms = record.stat.mtime_ms = time_ms_;
  record.stat.owner = owner;
  if (data) record.data = Bytes(*data);
  record.acl = std::make_shared<const AclList>(acl);
  outstanding_.put(path, std::move(record));
  return Op{type, std::move(txn)};
}

Op Preparer::make_delete(std::string_view path) {
  Record parent = *outstanding_.find(parent_path(path));
  parent.zxid = zxid_;
  parent.stat.pzxid = zxid_;
  parent.times.children_ms = time_ms_;
  parent.children -= 1;
  outstanding_.put(parent_path(path), std::move(parent));
  Record record;
  record.zxid = zxid_;
  record.exists = false;
  outstanding_.put(path, std::move(record));
  return Op{OpCode::kDelete, DeleteTxn{path}};
}

Op Preparer::make_set_data(std::string_view path, Record record,
                           std::optional<std::string_view> data) {
  record.zxid = zxid_;
  record.stat.mzxid = zxid_;
  record.stat.mtime_ms = time_ms_;
  record.stat.version += 1;
  record.data = data ? Bytes(*data) : Bytes();
  SetDataTxn txn{path, data, record.stat.version};
  outstanding_.put(path, std::move(record));
  return Op{OpCode::kSetData, txn};
}

Op Preparer::make_set_acl(std::string_view path, Record record, AclList acl) {
  record.zxid = zxid_;
  record.stat.aversion += 1;
  record.times.acl_ms = time_ms_;
  record.acl = std::make_shared<const AclList>(acl);
  SetAclTxn txn{path, std::move(acl), record.stat.aversion};
  outstanding_.put(path, std::move(record));
  return Op{OpCode::kSetAcl, std::move(txn)};
}

}  // namespace zabfs::tree
