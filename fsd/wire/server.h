// The client port: ZooKeeper's clients on this node's replica (Java: ZooKeeperServer,
// NIOServerCnxn, FinalRequestProcessor).
//
// The path of a request: bytes -> frame -> a read is answered from the tree, on the thread that
// received it; a write goes to `Replica::submit` and is answered when it is committed and applied
// here. Answers keep the order of a connection's requests, and the event of a change comes before
// any answer that shows the change: events are queued while the change is being applied.
//
// Threads: the server's own receive; the replica's strand answers writes. What the strand alone
// touches is marked so.
#pragma once

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "consensus/replica.h"
#include "consensus/service.h"
#include "consensus/spare_log.h"
#include "fsd/wire/budget.h"
#include "fsd/wire/config.h"
#include "fsd/wire/connection.h"
#include "fsd/wire/facts.h"

namespace zabfs::fsd::wire {

struct ServerStats {
  std::atomic<uint64_t> received{0}, sent{0};
  std::atomic<int64_t> latency_ms_sum{0}, latency_ms_min{INT64_MAX}, latency_ms_max{0};
  std::atomic<uint64_t> latency_count{0};
  void note_latency(int64_t ms);
  void reset();
};

class WireServer : public consensus::ReplicaListener {
 public:
  WireServer(consensus::Service& host, WireConfig config);
  ~WireServer() override;

  // Binds. An empty string, or what is wrong.
  std::string listen();
  void start();
  // Ends the threads; connections are closed. After the host has stopped, or before.
  void stop();
  // Says which doors are open, for the log.
  std::string doors() const;

  // On the strand, for those who tell of the server.
  ServerFacts facts();
  std::vector<ConnectionFacts> connection_facts() const;
  std::string state() const;
  const WireConfig& config() const { return config_; }
  const consensus::Replica& replica() const { return host_.replica(); }
  WatchBoard& watches() { return watches_; }
  tree::SessionId session_of(tree::Watcher watcher) const;
  void reset_stats() { stats_.reset(); }
  void reset_connection_stats();

  // ReplicaListener.
  void publishing(std::span<const tree::Change> changes) override;
  void session_closed(tree::SessionId session) override;
  void tree_replaced() override;
  void standing_changed() override;
  void name_touched() override;
  void batch_over() override;

 private:
  using tcp = boost::asio::ip::tcp;
  using Local = boost::asio::local::stream_protocol;
  struct Submission {
    ConnectionPtr connection;
    uint64_t number;  // of the waiting request
    int32_t xid;
    tree::Request request;
  };
  struct Read {
    int32_t xid;
    tree::OpCode type;
    std::string_view body;
    size_t begin;  // of its frame
  };

  // On the server's threads.
  // Who came through which door.
  struct Visitor {
    std::string address;
    uint16_t port = 0;
    bool with_tls = false;
    tree::Identities identities;
  };
  template <class Acceptor>
  void accept(Acceptor& acceptor);
  Visitor visitor_of(const tcp::socket& socket, bool secure) const;
  Visitor visitor_of(const Local::socket& socket);
  void admit(Connection::Socket socket, Visitor visitor);
  bool unseal(const ConnectionPtr& connection, std::string_view bytes);
  void read(const ConnectionPtr& connection);
  void go_on(const ConnectionPtr& connection);
  bool take_frames(const ConnectionPtr& connection);
  void take_hello(const ConnectionPtr& connection);
  void take_word(const ConnectionPtr& connection, const std::string& word);
  std::optional<std::string_view> next_frame(const ConnectionPtr& connection, size_t most_bytes);
  bool take_request(const ConnectionPtr& connection, std::string_view frame,
                    std::vector<Read>& reads, std::vector<Submission>& batch);
  bool answer_reads(const ConnectionPtr& connection, std::vector<Read>& reads);
  bool answer_read(Connection& connection, const tree::Tree& tree, int32_t xid, tree::OpCode type,
                   std::string_view body);
  void authenticate(Connection& connection, int32_t xid, std::string_view body);
  void step_sasl(Connection& connection, int32_t xid, std::string_view body);
  void fail_authentication(Connection& connection, int32_t xid, const std::string& why);
  bool may_ask(Connection& connection, int32_t xid);
  void refuse_write(const ConnectionPtr& connection, int32_t xid, tree::OpCode type);
  void refuse(const ConnectionPtr& connection, const std::string& why);
  void gone(const ConnectionPtr& connection);
  std::vector<ConnectionPtr> all_connections() const;
  void no_longer_fresh(uint64_t number);
  void forget_watches(uint64_t number);
  void sweep();
  void look_at(Connection& connection, Clock::time_point now, bool short_for_long);
  void relieve();
  size_t least_to_cut() const;
  size_t kept_bytes() const;
  static size_t most_connections(size_t configured);
  // What strangers can cause.
  void warn(const std::string& line);

  // On either.
  void send(const ConnectionPtr& connection);
  // Its mutex is held for these.
  void shut(Connection& connection);
  void cut(Connection& connection, const std::string& why);
  void count(Connection& connection);
  void weigh(Connection& connection, WaitingRequest& request, size_t bytes);
  void go_on_draining(const ConnectionPtr& connection);
  // Closed once all that it is owed is sent.
  void finish(const ConnectionPtr& connection);
  ReadContext context_of(const Connection& connection, const tree::Tree& tree);

  // On the strand.
  void connect(const ConnectionPtr& connection, const ConnectRequest& request);
  void open(const ConnectionPtr& connection, const ConnectRequest& request, tree::SessionId session,
            int32_t timeout_ms, tree::Zxid attachment = tree::kFirstAttachment);
  std::string listen_locally();
  // A session that only this server knows (Java: LocalSessionTracker).
  struct LocalSession {
    int32_t timeout_ms = 0;
    int64_t heard_ms = 0;
  };
  bool finish_locally(Submission& submission);
  void upgrade(tree::SessionId session);
  void end_local_sessions();
  static tree::Identities identities_of(Connection& connection);
  bool proves(const ConnectRequest& request) const;
  std::string password_of(tree::SessionId session) const;
  bool may_open_read_only(const ConnectRequest& request) const;
  void turn_away(const ConnectionPtr& connection, const ConnectRequest& request);
  void submit(Submission submission);
  void synced(const Submission& sync, const tree::Outcome& outcome);
  void answered(const Submission& submission, const tree::Outcome& outcome);
  static bool has_write_behind(const Connection& connection);
  void drain(Connection& connection);
  void mark_dirty(const ConnectionPtr& connection);
  void close_all(const char* why);
  void close_read_only();
  void note_answer(Connection& connection, const WaitingRequest& request);
  ConnectionPtr find(uint64_t number) const;

  consensus::Service& host_;
  const WireConfig config_;
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  tcp::acceptor acceptor_, secure_acceptor_;
  Local::acceptor local_acceptor_;
  std::optional<consensus::TlsContext> tls_;
  boost::asio::steady_timer sweep_timer_;
  std::vector<std::thread> threads_;
  WatchBoard watches_;
  ServerStats stats_;
  Budget budget_;
  const size_t max_connections_;
  std::atomic<bool> relieving_{false};
  int sweeps_short_ = 0;  // for how long there has been no room; on the sweeping thread

  std::mutex log_mutex_;  // guards log_
  consensus::SpareLog log_;
  const Clock::time_point started_ = Clock::now();

  mutable std::mutex connections_mutex_;  // guards what follows; nothing is locked under it
  std::unordered_map<uint64_t, ConnectionPtr> connections_;
  std::map<std::string, size_t> per_address_;
  std::map<uint64_t, ConnectionPtr> fresh_;  // have not said a word; the oldest first
  uint64_t next_connection_ = 1;

  // On the strand.
  std::map<tree::SessionId, ConnectionPtr> sessions_;
  std::map<tree::SessionId, LocalSession> local_sessions_;
  std::vector<ConnectionPtr> dirty_;
  // By connection: what came behind a sync that is not answered yet, and must not be done before.
  std::unordered_map<uint64_t, std::deque<Submission>> behind_sync_;
  int32_t next_cxid_ = 1;
  uint64_t standing_ = 0;  // counts its changes
  bool stopped_ = false;
  int64_t leaderless_since_ms_ = 0;  // 0: there is a leader
};

}  // namespace zabfs::fsd::wire
