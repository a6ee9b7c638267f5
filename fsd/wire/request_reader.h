// Takes the requests of connections off the bytes that came, and brings each to where it is served:
//
//   a connect request        to the sessions, on the strand
//   a four-letter word       to the strand
//   a read                   answered here, if nothing of its connection waits before it
//   addAuth and SASL         answered here
//   a write, and a read      wait on their connection (request_queue.h); the write goes to the
//   behind one               strand as well
//   anything else            refused here
//
// `received` takes all frames that are there, until the connection may take no more. What takes
// long goes in turns with other connections: it ends a call, and the rest is taken by a later one.
//
// Reads that are next to each other are answered together, under one hold of the tree's lock. They
// are not in the connection's queue meanwhile, so the order of answers is kept here: before a
// request of another kind is served, the reads before it are answered. If there is no room for
// their answers, they are put back into the buffer with all that is behind them.
//
// Threads: those of the wire server; one at a time for a connection, with none of its locks.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "consensus/service.h"
#include "fsd/wire/authenticator.h"
#include "fsd/wire/client_sessions.h"
#include "fsd/wire/client_writes.h"
#include "fsd/wire/config.h"
#include "fsd/wire/connection.h"
#include "fsd/wire/connection_table.h"
#include "fsd/wire/messages.h"
#include "fsd/wire/read_answers.h"
#include "tree/request.h"

namespace zabfs::fsd::wire {

class RequestReader {
 public:
  // Answers a four-letter word. On the strand.
  using AnswerWord = std::function<std::string(const std::string& word)>;
  // They serve the requests that are not served here.
  struct Servers {
    ConnectionTable& connections;
    ClientSessions& sessions;
    ClientWrites& writes;
    AnswerWord answer_word;
  };

  RequestReader(consensus::Service& service, const WireConfig& config, ReadAnswers& answers,
                Servers servers)
      : service_(service),
        config_(config),
        authenticator_(config, [&service] { return service.random(); }),
        answers_(answers),
        servers_(std::move(servers)) {}

  // Takes what is there, and reads on unless there is reason to wait.
  void received(const ConnectionPtr& connection);

 private:
  struct Read {
    int32_t xid;
    tree::OpCode type;
    std::string_view body;
    size_t begin;  // of its frame
  };
  // The requests that one call takes from one connection.
  struct Batch {
    const ConnectionPtr& connection;
    std::vector<Read> reads;                 // not answered yet
    std::vector<Submission> writes{};        // for the strand
    Clock::time_point since = Clock::now();  // of the oldest of `reads`, or before
  };

  bool take_frames(const ConnectionPtr& connection);
  std::optional<InBuffer::Frame> next_frame(Connection& connection, size_t most_bytes);
  void take_hello(const ConnectionPtr& connection);
  void take_word(const ConnectionPtr& connection, const std::string& word);
  bool take_request(Batch& batch, const InBuffer::Frame& frame);
  bool serve_at_once(Batch& batch, Connection::Locked& locked, int32_t xid, tree::OpCode type,
                     std::string_view body);
  void queue(Batch& batch, Connection::Locked& locked, int32_t xid, tree::OpCode type,
             std::string_view body, size_t answer_bytes);
  bool answer_reads(Batch& batch);
  static void note_answered(const Batch& batch, Connection::Locked& locked, size_t first,
                            size_t end, Clock::time_point now);
  void refuse_write(Connection& connection, int32_t xid, tree::OpCode type);

  consensus::Service& service_;
  const WireConfig& config_;
  const Authenticator authenticator_;
  ReadAnswers& answers_;
  const Servers servers_;
};

}  // namespace zabfs::fsd::wire
