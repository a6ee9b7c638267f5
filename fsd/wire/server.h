// The client port: ZooKeeper's clients on this node's replica (Java: ZooKeeperServer,
// NIOServerCnxn, FinalRequestProcessor).
//
// The path of a request:
//
//   Acceptors -> ConnectionTable        a client comes, and there is room for it
//     -> Connection -> RequestReader    bytes come, and are cut into requests
//     -> ReadAnswers                    a read is answered from the tree, on the thread that
//                                       received it, if nothing waits before it
//     -> ClientWrites                   a write goes to `Replica::submit`, and is answered when it
//                                       is committed and applied here; then the reads behind it
//     -> Connection::send               on the thread that has made the answer
//
// ClientSessions has the sessions, and Sweeper closes connections that hold too much or do nothing.
// This class puts these objects together, runs their threads, and listens to the replica for them.
//
// Answers keep the order of a connection's requests, and the event of a change comes before any
// answer that shows the change: events are queued while the change is being applied.
//
// Threads: the server's own receive; the replica's strand answers writes. What the strand alone
// touches is marked so. Locks: connection.h.
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "consensus/mutex.h"
#include "consensus/replica.h"
#include "consensus/service.h"
#include "fsd/facts/registry.h"
#include "fsd/wire/acceptors.h"
#include "fsd/wire/budget.h"
#include "fsd/wire/client_sessions.h"
#include "fsd/wire/client_writes.h"
#include "fsd/wire/config.h"
#include "fsd/wire/connection.h"
#include "fsd/wire/connection_table.h"
#include "fsd/wire/facts.h"
#include "fsd/wire/read_answers.h"
#include "fsd/wire/request_reader.h"
#include "fsd/wire/send_list.h"
#include "fsd/wire/stats.h"
#include "fsd/wire/sweeper.h"

namespace zabfs::fsd::wire {

class WireServer : public consensus::ReplicaListener, private ConnectionOwner {
 public:
  // Its facts go to the registry, as long as it lives.
  WireServer(consensus::Service& service, WireConfig config, Registry& registry,
             audit::AuditLog* audit = nullptr);
  ~WireServer() override;

  // Binds.
  Status listen() { return acceptors_.listen(); }
  void start();
  // Ends the threads; connections are closed. After the host has stopped, or before.
  void stop();
  // Says which doors are open, for the log.
  std::string doors() const { return acceptors_.text(); }

  // On the strand, for those who tell of the server.
  ServerFacts facts() const;
  DirectorySizes directories() const { return facts_.directories(); }
  const Registry& registry() const { return registry_; }
  std::vector<ConnectionFacts> connection_facts() const { return facts_.connections(); }
  const WireConfig& config() const { return config_; }
  int64_t now_ms() const { return service_.now_ms(); }
  const consensus::Replica& replica() const { return service_.replica(); }
  WatchBoard& watches() { return watches_; }
  tree::SessionId session_of(tree::Watcher watcher) const;
  void reset_stats() { stats_.reset(); }
  void reset_connection_stats();

  // ReplicaListener.
  void publishing(std::span<const tree::Change> changes) override;
  void session_closed(tree::SessionId session) override { sessions_.session_closed(session); }
  void tree_replaced() override;
  void standing_changed() override;
  void name_touched() override { sessions_.name_touched(); }
  void batch_over() override { to_send_.send_all(); }

 private:
  // ConnectionOwner.
  void received(const ConnectionPtr& connection) override { reader_.received(connection); }
  void may_drain(const ConnectionPtr& connection) override;
  void closed(const ConnectionPtr& connection) override;
  void warn(const std::string& line) override;

  void admit(Connection::Socket socket, Visitor visitor);
  void forget_watches(uint64_t number);
  void close_all(const char* why);

  consensus::Service& service_;
  const Registry& registry_;
  const WireConfig config_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::vector<std::thread> threads_;

  WatchBoard watches_;
  ServerStats stats_;
  Budget budget_;
  ConnectionTable connections_;
  Acceptors acceptors_;
  Sweeper sweeper_;
  ReadAnswers answers_;
  const Facts facts_;

  // On the strand.
  SendList to_send_;
  ClientSessions sessions_;
  ClientWrites writes_;
  uint64_t standing_ = 0;  // counts its changes

  RequestReader reader_;
};

}  // namespace zabfs::fsd::wire
