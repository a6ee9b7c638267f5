#include "tree/request.h"

#include "tree/jute.h"

namespace zabfs::tree {
namespace {

template <class Write>
std::string encoded(const Write& write) {
  std::string bytes;
  jute::Writer out(bytes);
  write(out);
  return bytes;
}

void write_optional(jute::Writer& out, const std::optional<uint32_t>& value) {
  out.boolean(value.has_value());
  if (value) out.i32(static_cast<int32_t>(*value));
}

std::optional<uint32_t> read_optional(jute::Reader& in) {
  if (!in.boolean()) return std::nullopt;
  return static_cast<uint32_t>(in.i32());
}

void write_change(jute::Writer& out, const PosixChange& change) {
  out.i32(static_cast<int32_t>(change.base.kind));
  out.i32(static_cast<int32_t>(change.base.mode));
  out.i32(static_cast<int32_t>(change.base.uid));
  out.i32(static_cast<int32_t>(change.base.gid));
  write_optional(out, change.mode);
  write_optional(out, change.uid);
  write_optional(out, change.gid);
  out.boolean(change.mtime.has_value());
  if (change.mtime) {
    out.i64(change.mtime->seconds);
    out.i32(change.mtime->nanoseconds);
  }
}

PosixChange read_change(jute::Reader& in) {
  PosixChange change;
  int32_t kind = in.i32();
  if (kind < 0 || kind > static_cast<int32_t>(Kind::kSocket)) in.fail();
  change.base.kind = static_cast<Kind>(kind);
  change.base.mode = static_cast<uint32_t>(in.i32());
  change.base.uid = static_cast<uint32_t>(in.i32());
  change.base.gid = static_cast<uint32_t>(in.i32());
  change.mode = read_optional(in);
  change.uid = read_optional(in);
  change.gid = read_optional(in);
  if (in.boolean()) {
    Time time;
    time.seconds = in.i64();
    time.nanoseconds = in.i32();
    if (time.nanoseconds < 0 || time.nanoseconds > 999'999'999) in.fail();
    change.mtime = time;
  }
  return change;
}

}  // namespace

PosixEntry changed(PosixEntry posix, const PosixChange& change) {
  posix.mode = change.mode.value_or(posix.mode);
  posix.uid = change.uid.value_or(posix.uid);
  posix.gid = change.gid.value_or(posix.gid);
  return posix;
}

PosixChange still_holding(PosixChange change, const PosixEntry& committed) {
  if (change.base.mode != committed.mode) change.mode.reset();
  if (change.base.uid != committed.uid) change.uid.reset();
  if (change.base.gid != committed.gid) change.gid.reset();
  return change;
}

Request superuser_request(SessionId session, int32_t cxid, OpCode type, std::string body) {
  return Request{session, cxid, type, std::move(body), superuser()};
}

std::string create_body(std::string_view path, std::optional<std::string_view> data,
                        const AclList& acl, int32_t flags) {
  return encoded([&](jute::Writer& out) {
    out.string(path);
    out.buffer(data);
    write_acl(out, acl);
    out.i32(flags);
  });
}

std::string create_ttl_body(std::string_view path, std::optional<std::string_view> data,
                            const AclList& acl, int32_t flags, int64_t ttl_ms) {
  std::string bytes = create_body(path, data, acl, flags);
  jute::Writer(bytes).i64(ttl_ms);
  return bytes;
}

std::string delete_body(std::string_view path, int32_t version) {
  return check_body(path, version);
}

std::string set_data_body(std::string_view path, std::optional<std::string_view> data,
                          int32_t version) {
  return encoded([&](jute::Writer& out) {
    out.string(path);
    out.buffer(data);
    out.i32(version);
  });
}

std::string set_acl_body(std::string_view path, const AclList& acl, int32_t version) {
  return encoded([&](jute::Writer& out) {
    out.string(path);
    write_acl(out, acl);
    out.i32(version);
  });
}

std::string check_body(std::string_view path, int32_t version) {
  return encoded([&](jute::Writer& out) {
    out.string(path);
    out.i32(version);
  });
}

std::string create_session_body(int32_t timeout_ms) {
  return encoded([&](jute::Writer& out) { out.i32(timeout_ms); });
}

std::string multi_body(const std::vector<MultiOp>& ops) {
  return encoded([&](jute::Writer& out) {
    for (const MultiOp& op : ops) {
      out.i32(static_cast<int32_t>(op.type));
      out.boolean(false);
      out.i32(-1);
      out.raw(op.body);
    }
    out.i32(-1);
    out.boolean(true);
    out.i32(-1);
  });
}

std::string encode(const ExtWrite& op) {
  return encoded([&](jute::Writer& out) {
    out.string(op.path);
    out.i64(op.czxid.value);
    out.i32(op.version);
    out.string(op.data);
    out.boolean(op.posix.has_value());
    if (op.posix) write_change(out, *op.posix);
  });
}

std::string encode(const ExtAppend& op) {
  return encoded([&](jute::Writer& out) {
    out.string(op.path);
    out.i64(op.czxid.value);
    out.string(op.data);
  });
}

std::string encode(const ExtRename& op) {
  return encoded([&](jute::Writer& out) {
    out.string(op.from);
    out.string(op.to);
    out.i64(op.from_czxid.value);
    out.i64(op.to_czxid.value);
    out.boolean(op.exchange);
  });
}

std::string encode(const ExtRemove& op) {
  return encoded([&](jute::Writer& out) {
    out.string(op.path);
    out.i64(op.czxid.value);
    out.boolean(op.directory);
  });
}

std::string encode(const ExtSetPosix& op) {
  return encoded([&](jute::Writer& out) {
    out.string(op.path);
    out.i64(op.czxid.value);
    write_change(out, op.change);
  });
}

std::optional<ExtWrite> decode_ext_write(std::string_view body) {
  jute::Reader in(body);
  ExtWrite op;
  op.path = in.string();
  op.czxid.value = in.i64();
  op.version = in.i32();
  op.data = in.string();
  if (in.boolean()) op.posix = read_change(in);
  if (!in.done()) return std::nullopt;
  return op;
}

std::optional<ExtAppend> decode_ext_append(std::string_view body) {
  jute::Reader in(body);
  ExtAppend op;
  op.path = in.string();
  op.czxid.value = in.i64();
  op.data = in.string();
  if (!in.done()) return std::nullopt;
  return op;
}

std::optional<ExtRename> decode_ext_rename(std::string_view body) {
  jute::Reader in(body);
  ExtRename op;
  op.from = in.string();
  op.to = in.string();
  op.from_czxid.value = in.i64();
  op.to_czxid.value = in.i64();
  op.exchange = in.boolean();
  if (!in.done()) return std::nullopt;
  return op;
}

std::optional<ExtRemove> decode_ext_remove(std::string_view body) {
  jute::Reader in(body);
  ExtRemove op;
  op.path = in.string();
  op.czxid.value = in.i64();
  op.directory = in.boolean();
  if (!in.done()) return std::nullopt;
  return op;
}

std::optional<ExtSetPosix> decode_ext_set_posix(std::string_view body) {
  jute::Reader in(body);
  ExtSetPosix op;
  op.path = in.string();
  op.czxid.value = in.i64();
  op.change = read_change(in);
  if (!in.done()) return std::nullopt;
  return op;
}

namespace {

bool makes_ephemeral(OpCode type, jute::Reader& in) {
  in.string();
  in.buffer();
  read_acl(in);
  int32_t flags = in.i32();
  if (type == OpCode::kCreateTtl) in.i64();
  return in.ok() && (flags == kCreateEphemeral || flags == kCreateEphemeralSequential);
}

// Past an operation of a multi that creates nothing.
void skip_op(OpCode type, jute::Reader& in) {
  in.string();
  if (type == OpCode::kSetData) in.buffer();
  in.i32();
}

}  // namespace

bool creates_ephemeral(const Request& request) {
  jute::Reader in(request.body);
  if (is_create(request.type)) return makes_ephemeral(request.type, in);
  if (request.type != OpCode::kMulti) return false;
  while (in.ok()) {
    auto type = static_cast<OpCode>(in.i32());
    bool done = in.boolean();
    in.i32();
    if (!in.ok() || done) return false;
    if (!is_create(type)) {
      skip_op(type, in);
    } else if (makes_ephemeral(type, in)) {
      return true;
    }
  }
  return false;
}

}  // namespace zabfs::tree
