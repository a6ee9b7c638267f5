#include "fsd/wire/request_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "consensus/replica.h"
#include "fsd/wire/words.h"
#include "tree/jute.h"

namespace zabfs::fsd::wire {

using tree::Error;
using tree::OpCode;

namespace {

constexpr size_t kMaxReadsAtOnce = 128;      // under one hold of the tree's lock
constexpr size_t kMaxHoldBytes = 64u << 10;  // of answers, and one, under one hold
constexpr size_t kMaxHelloBytes = 4u << 10;  // of the first frame
constexpr size_t kRequestBytes = 512;        // of a write on its way, beside its body

size_t bytes_of(const tree::Identities& identities) {
  size_t bytes = 0;
  for (const tree::Id& id : identities) bytes += sizeof(id) + id.scheme.size() + id.id.size();
  return bytes;
}

}  // namespace

void RequestReader::received(const ConnectionPtr& connection) {
  bool are_left = take_frames(connection);
  connection->forget_taken();
  connection->send();
  // Where it pauses, `Connection::send` goes on when there is room.
  if (!connection->lock()->may_read_on(connection->in().held_bytes())) return;
  are_left ? connection->take_later() : connection->read();
}

// True: there may be whole frames left, which must wait.
bool RequestReader::take_frames(const ConnectionPtr& connection) {
  Connection& c = *connection;
  Phase phase = c.lock()->phase();
  if (phase == Phase::kHello) take_hello(connection);
  if (phase != Phase::kOpen) return false;
  Batch batch{connection, {}};
  bool are_left = false;
  while (!are_left) {
    std::optional<InBuffer::Frame> frame = next_frame(c, config_.max_frame_bytes);
    if (!frame) break;
    c.note_heard();
    are_left = !take_request(batch, *frame);
    // Others take their turns.
    if (!batch.reads.empty() && is_long(batch.reads.back().type)) are_left = true;
    if (batch.reads.size() >= kMaxReadsAtOnce) are_left = !answer_reads(batch);
    Connection::Locked locked(c);
    locked->note_moved();
    if (locked->is_closed() || locked->phase() != Phase::kOpen) break;
    are_left = are_left || !locked->can_take_more();
  }
  are_left = !answer_reads(batch) || are_left;
  if (batch.writes.empty()) return are_left;
  service_.post([this, writes = std::move(batch.writes)]() mutable {
    for (Submission& submission : writes) servers_.writes.submit(std::move(submission));
  });
  return are_left;
}

// None is there yet, or it is too long: then the connection is over.
std::optional<InBuffer::Frame> RequestReader::next_frame(Connection& connection,
                                                         size_t most_bytes) {
  std::optional<int32_t> length = connection.in().next_length();
  if (length && (*length < 0 || static_cast<size_t>(*length) > most_bytes)) {
    ++connection.server_stats().too_long;
    connection.refuse(
        fmt::format("a frame of {} bytes; the limit is {}{}", *length, most_bytes,
                    most_bytes == config_.max_frame_bytes ? " (jute.maxbuffer)" : " here"));
    return std::nullopt;
  }
  return connection.in().take();
}

void RequestReader::take_hello(const ConnectionPtr& connection) {
  std::string_view left = connection->in().left();
  if (left.size() < 4) return;
  std::string word(left.substr(0, 4));
  if (is_word(word)) return take_word(connection, word);
  std::optional<InBuffer::Frame> frame =
      next_frame(*connection, std::min(kMaxHelloBytes, config_.max_frame_bytes));
  if (!frame) return;
  servers_.connections.spoke(connection->number());
  std::optional<ConnectRequest> request = decode_connect_request(frame->record);
  if (!request) return connection->refuse("not a connect request");
  ++connection->server_stats().connects;
  connection->lock()->begin_connecting();
  service_.post(
      [this, connection, request = *request] { servers_.sessions.connect(connection, request); });
}

void RequestReader::take_word(const ConnectionPtr& connection, const std::string& word) {
  servers_.connections.spoke(connection->number());
  connection->lock()->begin_connecting();
  service_.post([this, connection, word] {
    std::string text = servers_.answer_word(word);
    {
      Connection::Locked locked(*connection);
      locked->out().plain() += text;
      locked->count();
    }
    connection->finish();
  });
}

// False: no room is left for answers, and the request was not taken, nor were some before it.
bool RequestReader::take_request(Batch& batch, const InBuffer::Frame& frame) {
  using Arrival = RequestQueue::Arrival;
  Connection& c = *batch.connection;
  tree::jute::Reader in(frame.record);
  int32_t xid = in.i32();
  auto type = static_cast<OpCode>(in.i32());
  if (!in.ok()) {
    c.refuse("a frame without a request header");
    return true;
  }
  std::string_view body = in.rest();
  size_t answer_bytes = 0;
  Connection::Locked locked(c);
  if (is_read(type) && !locked->requests().is_empty()) {
    locked.unlock();  // the tree's lock is taken before a connection's
    answer_bytes = service_.replica().read(
        [type, body](const tree::Tree& tree) { return expected_answer_bytes(tree, type, body); });
    locked.lock();
  }
  Arrival arrival = locked->requests().arrival(type);
  if (arrival == Arrival::kNotNow) {
    c.in().put_back(frame.begin);
    return false;
  }
  if (arrival != Arrival::kAnswered && !batch.reads.empty()) {
    locked.unlock();
    if (!answer_reads(batch)) return false;
    locked.lock();
  }
  locked->note_received(type, xid);
  bool proves = type == OpCode::kAuth || type == OpCode::kSasl;
  if (!proves && !authenticator_.may_ask(c, locked, xid)) return true;
  if (arrival == Arrival::kAnswered) {
    batch.reads.push_back({xid, type, body, frame.begin});
  } else if (!serve_at_once(batch, locked, xid, type, body)) {
    queue(batch, locked, xid, type, body, answer_bytes);
  }
  return true;
}

// Serves a request that waits for nothing, or refuses it. False: the request has to wait.
bool RequestReader::serve_at_once(Batch& batch, Connection::Locked& locked, int32_t xid,
                                  OpCode type, std::string_view body) {
  Connection& c = *batch.connection;
  if (type == OpCode::kAuth) {
    authenticator_.add_auth(c, locked, xid, body);
    return true;
  }
  if (type == OpCode::kSasl) {
    authenticator_.step_sasl(c, locked, xid, body);
    return true;
  }
  if (!is_read(type) && !is_write(type)) {
    append_reply(locked->out().plain(), xid, tree::Zxid{-1}, Error::kUnimplemented);
    c.end(locked, fmt::format("unknown request type {}", static_cast<int32_t>(type)));
    return true;
  }
  if (locked->client().is_read_only) {
    locked.unlock();
    refuse_write(c, xid, type);
    return true;
  }
  return false;
}

void RequestReader::queue(Batch& batch, Connection::Locked& locked, int32_t xid, OpCode type,
                          std::string_view body, size_t answer_bytes) {
  const Client& client = locked->client();
  WaitingRequest waiting;
  waiting.xid = xid;
  waiting.type = type;
  waiting.since = Clock::now();
  waiting.held_bytes = sizeof(WaitingRequest) + body.size() + answer_bytes;
  if (is_read(type)) {
    waiting.bytes = body;
    locked->requests().add(std::move(waiting));
    return;
  }
  waiting.held_bytes += kRequestBytes + bytes_of(client.identities);
  RequestQueue::Number number = locked->requests().add(std::move(waiting));
  tree::Request request;
  request.session = client.session;
  request.type = type;
  request.body = body;
  request.identities = client.identities;
  batch.writes.push_back({batch.connection, number, xid, std::move(request)});
}

// False: there is no room for the answers of the last of them, which are to be taken again.
bool RequestReader::answer_reads(Batch& batch) {
  Connection& c = *batch.connection;
  std::vector<Read>& reads = batch.reads;
  size_t next = 0;
  bool is_full = false;
  while (next < reads.size() && !is_full) {
    service_.replica().read([&](const tree::Tree& tree) {
      Connection::Locked locked(c);
      const std::string& out = locked->out().plain();
      size_t first = next, end = out.size() + kMaxHoldBytes;
      bool is_enough = false;
      while (next < reads.size() && !is_full && !is_enough) {
        is_full = locked->is_closed() || locked->out().unsent() >= kPauseOutBytes;
        if (is_full) break;
        const Read& read = reads[next++];
        is_full = !answers_.answer(c, locked, tree, read.xid, read.type, read.body);
        is_enough = is_long(read.type) || out.size() > end;
      }
      Clock::time_point now = Clock::now();
      locked->note_reads(next - first, tree.last_zxid(), now);
      note_answered(batch, locked, first, next, now);
    });
  }
  bool are_left = next < reads.size();
  if (are_left) {
    c.in().put_back(reads[next].begin);
    c.lock()->take_back_received(reads.size() - next);
  }
  reads.clear();
  return !are_left;
}

// Most times all are of one kind.
void RequestReader::note_answered(const Batch& batch, Connection::Locked& locked, size_t first,
                                  size_t end, Clock::time_point now) {
  while (first < end) {
    OpCode type = batch.reads[first].type;
    size_t same = first;
    while (same < end && batch.reads[same].type == type) ++same;
    locked->note_times(type, now - batch.since, same - first);
    first = same;
  }
}

void RequestReader::refuse_write(Connection& connection, int32_t xid, OpCode type) {
  tree::Zxid zxid =
      service_.replica().read([](const tree::Tree& tree) { return tree.last_zxid(); });
  Connection::Locked locked(connection);
  bool closes = type == OpCode::kCloseSession;
  append_reply(locked->out().plain(), xid, zxid, closes ? Error::kOk : Error::kNotReadOnly);
  if (closes) locked->end();
}

}  // namespace zabfs::fsd::wire
