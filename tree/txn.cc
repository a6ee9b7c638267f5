#include "tree/txn.h"

#include "tree/jute.h"

namespace zabfs::tree {
namespace {

constexpr int32_t kDigestVersion = 2;
constexpr size_t kDigestBytes = 12;

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;  // clang 14 does not deduce it for an aggregate

void write_create(jute::Writer& out, OpCode type, const CreateTxn& txn) {
  out.string(txn.path);
  out.buffer(txn.data);
  write_acl(out, txn.acl);
  if (type == OpCode::kCreate || type == OpCode::kCreate2) out.boolean(txn.ephemeral);
  out.i32(txn.parent_cversion);
  if (type == OpCode::kCreateTtl) out.i64(txn.ttl_ms);
}

void write_op(jute::Writer& out, OpCode type, const OpBody& body) {
  std::visit(Overloaded{
                 [&](const CreateTxn& txn) { write_create(out, type, txn); },
                 [&](const DeleteTxn& txn) { out.string(txn.path); },
                 [&](const SetDataTxn& txn) {
                   out.string(txn.path);
                   out.buffer(txn.data);
                   out.i32(txn.version);
                 },
                 [&](const SetAclTxn& txn) {
                   out.string(txn.path);
                   write_acl(out, txn.acl);
                   out.i32(txn.version);
                 },
                 [&](const CheckTxn& txn) {
                   out.string(txn.path);
                   out.i32(txn.version);
                 },
                 [&](const ErrorTxn& txn) { out.i32(static_cast<int32_t>(txn.error)); },
             },
             body);
}

void write_multi(jute::Writer& out, const MultiTxn& multi) {
  out.count(multi.ops.size());
  std::string body;
  for (const Op& op : multi.ops) {
    body.clear();
    jute::Writer inner(body);
    write_op(inner, op.type, op.body);
    out.i32(static_cast<int32_t>(op.type));
    out.string(body);
  }
}

std::optional<OpBody> read_op(jute::Reader& in, OpCode type) {
  if (is_create(type)) {
    CreateTxn txn;
    txn.path = in.string();
    txn.data = in.buffer();
    txn.acl = read_acl(in);
    if (type == OpCode::kCreate || type == OpCode::kCreate2) txn.ephemeral = in.boolean();
    if (!in.at_end()) txn.parent_cversion = in.i32();
    if (type == OpCode::kCreateTtl) txn.ttl_ms = in.i64();
    return txn;
  }
  if (type == OpCode::kDelete || type == OpCode::kDeleteContainer) return DeleteTxn{in.string()};
  if (type == OpCode::kSetData || type == OpCode::kReconfig) {
    SetDataTxn txn;
    txn.path = in.string();
    txn.data = in.buffer();
    txn.version = in.i32();
    return txn;
  }
  if (type == OpCode::kSetAcl) {
    SetAclTxn txn;
    txn.path = in.string();
    txn.acl = read_acl(in);
    txn.version = in.i32();
    return txn;
  }
  if (type == OpCode::kCheck) {
    CheckTxn txn;
    txn.path = in.string();
    txn.version = in.i32();
    return txn;
  }
  if (type == OpCode::kError) return ErrorTxn{static_cast<Error>(in.i32())};
  return std::nullopt;
}

constexpr size_t kErrorBytes = 4;

std::optional<MultiTxn> read_multi(jute::Reader& in) {
  MultiTxn multi;
  size_t n = in.count(8);
  multi.ops.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    auto type = static_cast<OpCode>(in.i32());
    std::string_view bytes = in.string();
    if (type == OpCode::kError && bytes.size() != kErrorBytes) {
      // An op before the one that failed, of a txn that a server of Java's has applied: it became
      // an error of code 0, and its bytes stayed (5.2).
      multi.ops.push_back(Op{type, ErrorTxn{Error::kOk}});
      continue;
    }
    jute::Reader body(bytes);
    std::optional<OpBody> op = read_op(body, type);
    if (!op || !body.ok()) return std::nullopt;
    multi.ops.push_back(Op{type, std::move(*op)});
  }
  return multi;
}

// A digest alone: a list of two paths would be longer.
bool is_digest(std::string_view bytes) {
  return bytes.size() == kDigestBytes && jute::Reader(bytes).i32() == kDigestVersion;
}

TxnHeader read_header(jute::Reader& in) {
  TxnHeader header;
  header.session.value = in.i64();
  header.cxid = in.i32();
  header.zxid.value = in.i64();
  header.time_ms = in.i64();
  header.type = static_cast<OpCode>(in.i32());
  return header;
}

}  // namespace

bool is_late(const Txn& txn) {
  const auto* error = std::get_if<ErrorTxn>(&txn.body);
  return error != nullptr && error->error == Error::kSessionMoved;
}

bool is_attach(const Txn& txn) {
  const auto* error = std::get_if<ErrorTxn>(&txn.body);
  return error != nullptr && error->error == Error::kOk && txn.header.session != SessionId{};
}

bool MultiTxn::failed() const {
  for (const Op& op : ops) {
    if (op.type == OpCode::kError) return true;
  }
  return false;
}

void encode_txn(const Txn& txn, std::string& bytes) {
  jute::Writer out(bytes);
  out.i64(txn.header.session.value);
  out.i32(txn.header.cxid);
  out.i64(txn.header.zxid.value);
  out.i64(txn.header.time_ms);
  out.i32(static_cast<int32_t>(txn.header.type));
  std::visit(Overloaded{
                 [&](const CreateSessionTxn& body) { out.i32(body.timeout_ms); },
                 [&](const CloseSessionTxn& body) {
                   out.count(body.paths.size());
                   for (std::string_view path : body.paths) out.string(path);
                 },
                 [&](const MultiTxn& body) { write_multi(out, body); },
                 [&](const auto& body) { write_op(out, txn.header.type, OpBody(body)); },
             },
             txn.body);
  if (txn.digest) {
    out.i32(kDigestVersion);
    out.i64(*txn.digest);
    out.raw(txn.origin);
  }
}

std::optional<TxnHeader> decode_txn_header(std::string_view bytes) {
  jute::Reader in(bytes);
  TxnHeader header = read_header(in);
  if (!in.ok()) return std::nullopt;
  return header;
}

std::optional<Txn> decode_txn(std::string_view bytes) {
  jute::Reader in(bytes);
  Txn txn;
  txn.header = read_header(in);
  if (!in.ok()) return std::nullopt;
  if (txn.header.type == OpCode::kCreateSession) {
    txn.body = CreateSessionTxn{in.i32()};
  } else if (txn.header.type == OpCode::kCloseSession) {
    CloseSessionTxn body;
    if (!in.at_end() && !is_digest(in.rest())) {  // of 3.5, or closeSessionTxn.enabled=false
      body.paths.resize(in.count(4));
      for (std::string_view& path : body.paths) path = in.string();
    }
    txn.body = std::move(body);
  } else if (txn.header.type == OpCode::kMulti) {
    std::optional<MultiTxn> multi = read_multi(in);
    if (!multi) return std::nullopt;
    txn.body = std::move(*multi);
  } else {
    std::optional<OpBody> op = read_op(in, txn.header.type);
    if (!op) return std::nullopt;
    std::visit([&txn](auto& body) { txn.body = std::move(body); }, *op);
  }
  if (!in.ok()) return std::nullopt;
  if (in.rest().size() >= kDigestBytes) {
    int32_t version = in.i32();
    int64_t digest = in.i64();
    if (version == kDigestVersion) txn.digest = digest;
    txn.origin = in.rest();
  }
  return txn;
}

}  // namespace zabfs::tree
