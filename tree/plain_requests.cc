#include "tree/plain_requests.h"

#include <string>
#include <type_traits>
#include <utility>
#include <variant>

#include "tree/jute.h"
#include "tree/prepare_decode.h"

namespace zabfs::tree {

namespace {

// The version of a znode that is there before the request. One that the request makes itself, and
// removes again, has none.
int32_t version_before(const Tree& tree, std::string_view path) {
  const ZNode* node = tree.find(path);
  return node == nullptr ? kAnyVersion : node->stat.version;
}

std::string create_request(OpCode type, const CreateTxn& txn) {
  if (type == OpCode::kCreateTtl) {
    return create_ttl_body(txn.path, txn.data, txn.acl, kCreateTtlFlag, txn.ttl_ms);
  }
  bool is_container = type == OpCode::kCreateContainer;
  return create_body(txn.path, txn.data, txn.acl,
                     is_container ? kCreateContainerFlag : kCreatePersistent);
}

// None: the txn has no request of its own.
std::optional<MultiOp> request_for(const Tree& tree, OpCode type, const OpBody& body) {
  if (const auto* create = std::get_if<CreateTxn>(&body)) {
    return MultiOp{type, create_request(type, *create)};
  }
  if (const auto* remove = std::get_if<DeleteTxn>(&body)) {
    return MultiOp{type, delete_body(remove->path, version_before(tree, remove->path))};
  }
  if (const auto* data = std::get_if<SetDataTxn>(&body)) {
    return MultiOp{type, set_data_body(data->path, data->data, data->version - 1)};
  }
  if (const auto* acl = std::get_if<SetAclTxn>(&body)) {
    return MultiOp{type, set_acl_body(acl->path, acl->acl, acl->version - 1)};
  }
  return std::nullopt;
}

std::optional<MultiOp> multi_for(const Tree& tree, const MultiTxn& multi) {
  std::vector<MultiOp> ops;
  for (const Op& op : multi.ops) {
    std::optional<MultiOp> request = request_for(tree, op.type, op.body);
    if (!request) return std::nullopt;
    ops.push_back(std::move(*request));
  }
  return MultiOp{OpCode::kMulti, multi_body(ops)};
}

std::optional<MultiOp> request_for(const Tree& tree, const Txn& txn) {
  if (const auto* multi = std::get_if<MultiTxn>(&txn.body)) return multi_for(tree, *multi);
  return std::visit(
      [&](const auto& body) -> std::optional<MultiOp> {
        if constexpr (std::is_constructible_v<OpBody, decltype(body)>) {
          return request_for(tree, txn.header.type, OpBody(body));
        }
        return std::nullopt;
      },
      txn.body);
}

// The change of the posix entry that a write brings along, taken out of it.
std::optional<ExtSetPosix> take_posix(Request& request) {
  if (request.type != OpCode::kExtWrite) return std::nullopt;
  std::optional<ExtWrite> write = decode_ext_write(request.body);
  if (!write || !write->posix) return std::nullopt;
  ExtSetPosix posix{write->path, write->czxid, *std::exchange(write->posix, std::nullopt)};
  request.body = encode(*write);
  return posix;
}

}  // namespace

bool has_plain_form(OpCode type) {
  return type == OpCode::kExtWrite || type == OpCode::kExtAppend || type == OpCode::kExtRename ||
         type == OpCode::kExtRemove || type == OpCode::kExtSetPosix;
}

PlainRequests plain_requests(const Tree& tree, PrepareOptions options, const Request& request) {
  PlainRequests plain;
  Request data_alone = request;
  plain.then = take_posix(data_alone);
  options.replaces_files = true;
  size_t max_bytes = options.limits.request_bytes();
  Preparer preparer(tree, std::move(options));
  for (const PreparedTxn& prepared : preparer.prepare(data_alone, tree.last_zxid().next(), 0)) {
    std::optional<Txn> txn = decode_txn(prepared.bytes);
    const auto* failed = txn ? std::get_if<ErrorTxn>(&txn->body) : nullptr;
    if (failed != nullptr) return {failed->error, {}, {}};
    std::optional<MultiOp> plain_request = txn ? request_for(tree, *txn) : std::nullopt;
    if (!plain_request) return {Error::kUnimplemented, {}, {}};
    if (plain_request->body.size() > max_bytes) return {Error::kTooLarge, {}, {}};
    plain.requests.push_back(std::move(*plain_request));
  }
  return plain;
}

Error refused_for_java(const Request& request) {
  if (request.type == OpCode::kCheck) return Error::kUnimplemented;
  if (request.type != OpCode::kCreateTtl) return Error::kOk;
  jute::Reader in(request.body);
  in.buffer();  // path
  in.buffer();  // data
  read_wanted_acl(in, {});
  int32_t flags = in.i32();
  return in.ok() && !has_ttl_flag(flags) ? Error::kBadArguments : Error::kOk;
}

bool is_conflict(Error error) {
  return error == Error::kBadVersion || error == Error::kNoNode || error == Error::kNodeExists ||
         error == Error::kNotEmpty || error == Error::kNoChildrenForEphemerals;
}

}  // namespace zabfs::tree
