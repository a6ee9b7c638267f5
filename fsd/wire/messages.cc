#include "fsd/wire/messages.h"

#include <cstring>

#include "tree/snapshot.h"

namespace zabfs::fsd::wire {

using tree::Error;
using tree::OpCode;
using tree::OpOutcome;
using tree::Outcome;
using tree::SessionId;
using tree::Zxid;

namespace {

void write_multi_header(tree::jute::Writer& out, OpCode type, bool done, int32_t error) {
  out.i32(static_cast<int32_t>(type));
  out.boolean(done);
  out.i32(error);
}

// The body of one operation that went well.
void write_result(tree::jute::Writer& out, OpCode type, const OpOutcome& outcome) {
  if (tree::is_create(type)) out.string(outcome.path);
  bool has_stat = type == OpCode::kSetData || type == OpCode::kSetAcl ||
                  (tree::is_create(type) && type != OpCode::kCreate);
  if (has_stat) tree::write_stat(out, outcome.stat);
}

// How a multi's reply names an operation (FORMATS.md 1.8).
OpCode result_type(OpCode type) {
  if (type == OpCode::kCreateTtl || type == OpCode::kCreateContainer) return OpCode::kCreate2;
  return type;
}

void write_multi_results(tree::jute::Writer& out, const Outcome& outcome) {
  bool failed = outcome.error != Error::kOk;
  for (const OpOutcome& op : outcome.ops) {
    if (failed) {
      auto error = static_cast<int32_t>(op.error);
      write_multi_header(out, OpCode::kError, false, error);
      out.i32(error);
    } else {
      write_multi_header(out, result_type(op.type), false, 0);
      write_result(out, op.type, op);
    }
  }
  write_multi_header(out, OpCode::kError, true, -1);
}

}  // namespace

std::optional<ConnectRequest> decode_connect_request(std::string_view record) {
  tree::jute::Reader in(record);
  ConnectRequest request;
  in.i32();  // the protocol's version, which is 0
  request.last_zxid.value = in.i64();
  request.timeout_ms = in.i32();
  request.session.value = in.i64();
  request.password = in.string();
  if (in.ok() && !in.at_end()) request.read_only = in.boolean();
  if (!in.ok()) return std::nullopt;
  return request;
}

Frame::~Frame() {
  int32_t length = tree::jute::to_big_endian(static_cast<int32_t>(out_.size() - start_ - 4));
  std::memcpy(out_.data() + start_, &length, 4);
}

void append_connect_response(std::string& out, int32_t timeout_ms, SessionId session,
                             std::string_view password, std::optional<bool> read_only) {
  Frame frame(out);
  tree::jute::Writer writer(out);
  writer.i32(0);
  writer.i32(timeout_ms);
  writer.i64(session.value);
  writer.string(session == SessionId{} ? std::string(kPasswordBytes, '\0') : password);
  if (read_only) writer.boolean(*read_only);
}

void write_reply_header(tree::jute::Writer& out, int32_t xid, Zxid zxid, Error error) {
  out.i32(xid);
  out.i64(zxid.value);
  out.i32(static_cast<int32_t>(error));
}

void append_reply(std::string& out, int32_t xid, Zxid zxid, Error error) {
  Frame frame(out);
  tree::jute::Writer writer(out);
  write_reply_header(writer, xid, zxid, error);
}

void append_outcome(std::string& out, int32_t xid, OpCode type, const Outcome& outcome) {
  Frame frame(out);
  tree::jute::Writer writer(out);
  bool has_results = type == OpCode::kMulti && outcome.type == OpCode::kMulti;
  write_reply_header(writer, xid, outcome.zxid, has_results ? Error::kOk : outcome.error);
  if (has_results) return write_multi_results(writer, outcome);
  if (outcome.error == Error::kOk) write_result(writer, type, outcome);
}

void append_event(std::string& out, tree::EventType type, std::string_view path) {
  constexpr int32_t kSyncConnected = 3;
  Frame frame(out);
  tree::jute::Writer writer(out);
  write_reply_header(writer, -1, Zxid{-1}, Error::kOk);
  writer.i32(static_cast<int32_t>(type));
  writer.i32(kSyncConnected);
  writer.string(path);
}

bool is_write(OpCode type) {
  return tree::is_create(type) || type == OpCode::kDelete || type == OpCode::kSetData ||
         type == OpCode::kSetAcl || type == OpCode::kMulti || type == OpCode::kCheck ||
         type == OpCode::kReconfig || type == OpCode::kSync || type == OpCode::kCloseSession;
}

}  // namespace zabfs::fsd::wire
