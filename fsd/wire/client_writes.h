// The writes of clients, from their arrival on the strand to their answers; and the reads that wait
// behind them.
//
// `submit` brings a write to the replica. When the write is committed and applied here, its answer
// goes into the connection's queue, and the queue is drained: the replica runs the completion
// before the next txn is applied, so the reads behind the write see the state that it has made.
//
// A sync (ZooKeeper's) is a barrier. The replica takes writes and barriers independently of each
// other, so this class keeps them in order: it holds the requests behind a sync until the sync is
// answered. Example:
//   1. The client sends a sync, read R and write B. The sync asks the leader.
//   2. If B were submitted now, it could be applied before the sync is answered. R, which is
//   answered
//      with the sync, would show it.
//   3. The sync is answered, and R with it. B is submitted.
//
// Every write gets an answer that says whether it took effect. If this server can't know that, or
// the session has moved to another server, it closes the connection instead.
//
// Limits: those of the connections' queues.
//
// On the strand.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_map>

#include "consensus/service.h"
#include "fsd/audit/audit_log.h"
#include "fsd/wire/client_sessions.h"
#include "fsd/wire/connection.h"
#include "fsd/wire/read_answers.h"
#include "fsd/wire/send_list.h"
#include "tree/request.h"
#include "tree/tree.h"

namespace zabfs::fsd::wire {

// A write on its way to the tree.
struct Submission {
  ConnectionPtr connection;
  RequestQueue::Number number;  // of the request that waits
  int32_t xid = 0;
  tree::Request request;
  std::string audited = {};  // what the audit needs of the request's body
};

class ClientWrites {
 public:
  ClientWrites(consensus::Service& service, ClientSessions& sessions, ReadAnswers& answers,
               SendList& to_send, audit::AuditLog* audit)
      : service_(service),
        sessions_(sessions),
        answers_(answers),
        to_send_(to_send),
        audit_(audit) {}

  // The cxid of the first write. They rise from there.
  void start(int32_t first_cxid) { next_cxid_ = first_cxid; }
  void submit(Submission submission);
  // Answers what may be answered: there is room again.
  void go_on(const ConnectionPtr& connection);
  // The connection is gone.
  void forget(const Connection& connection) { behind_sync_.erase(connection.number()); }

 private:
  void answer(const Submission& submission, const tree::Outcome& outcome);
  void audit(const Submission& submission, const tree::Outcome& outcome);
  std::string encode(const Submission& submission, const tree::Outcome& outcome) const;
  void synced(const Submission& sync, const tree::Outcome& outcome);
  void drain(Connection& connection, Connection::Locked& locked);

  consensus::Service& service_;
  ClientSessions& sessions_;
  ReadAnswers& answers_;
  SendList& to_send_;
  audit::AuditLog* audit_;  // null: none
  // By connection: what came behind a sync that is not answered yet.
  std::unordered_map<uint64_t, std::deque<Submission>> behind_sync_;
  int32_t next_cxid_ = 1;
};

}  // namespace zabfs::fsd::wire
