// One connection of a ZooKeeper client: its socket, the bytes that came, and its state under a
// mutex (connection_state.h has the rules).
//
// Bytes come in on a thread of the wire server, one thread at a time for a connection. That thread
// answers reads itself when nothing of this connection waits before them. Answers to writes come on
// the replica's strand, which then answers the reads behind them. The thread that has made an
// answer sends it, so no other thread is woken for it.
//
// The socket has one sender at a time, as `send` holds the mutex. When the socket is full, the
// wire server's thread waits for it, and sends the rest.
//
// A connection ends in two steps. `shut` is the decision, by any thread: nothing more passes, and
// the client is told by its socket. Then the owner's `closed` runs on the connection's own thread,
// which forgets the connection. Between the two steps other threads may still hold a pointer to the
// connection and append answers. These are never sent.
//
// Locks: the tree's (shared) before a connection's, a connection's before the watch board's, the
// TLS context's and the log's.
#pragma once

#include <atomic>
#include <boost/asio/generic/stream_protocol.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "consensus/mutex.h"
#include "consensus/tls.h"
#include "fsd/wire/config.h"
#include "fsd/wire/connection_state.h"
#include "fsd/wire/in_buffer.h"
#include "tree/acl.h"

namespace zabfs::fsd::wire {

class Connection;
using ConnectionPtr = std::shared_ptr<Connection>;

// The peer of an accepted socket, as its door knows it.
struct Visitor {
  std::string address;  // an IP address, or "uid 1000"
  uint16_t port = 0;
  bool is_with_tls = false;
  tree::Identities identities;
};

// The server of a connection, as the connection sees it. The first three are called on the
// connection's own thread and without its mutex.
class ConnectionOwner {
 public:
  // Requests may be taken from `in`: bytes came, or the connection goes on after a pause.
  virtual void received(const ConnectionPtr& connection) = 0;
  // Reads were put off for want of room, and there is room.
  virtual void may_drain(const ConnectionPtr& connection) = 0;
  // It is over, and is to be forgotten. May come twice.
  virtual void closed(const ConnectionPtr& connection) = 0;
  // Of what strangers can cause. Any thread, perhaps under a connection's mutex.
  virtual void warn(const std::string& line) = 0;

 protected:
  ~ConnectionOwner() = default;
};

class Connection : public std::enable_shared_from_this<Connection> {
 public:
  using Socket = boost::asio::generic::stream_protocol::socket;

  // The only way to the state: a handle that holds the connection's mutex as long as it lives. Who
  // is passed one has the mutex. Clang's analysis follows a handle in the function that makes it,
  // and not the handles that are passed on.
  class SCOPED_CAPABILITY Locked {
   public:
    explicit Locked(const Connection& connection) ACQUIRE(connection.mutex_)
        : connection_(connection) {
      connection.mutex_.lock();
    }
    ~Locked() RELEASE() {
      if (holds_) unlock();
    }
    Locked(const Locked&) = delete;
    Locked& operator=(const Locked&) = delete;
    ConnectionState* operator->() const NO_THREAD_SAFETY_ANALYSIS { return &connection_.state_; }
    // For a while, to take the tree's lock first.
    void unlock() NO_THREAD_SAFETY_ANALYSIS {
      holds_ = false;
      connection_.mutex_.unlock();
    }
    void lock() NO_THREAD_SAFETY_ANALYSIS {
      connection_.mutex_.lock();
      holds_ = true;
    }

   private:
    const Connection& connection_;
    bool holds_ = true;
  };

  // The objects that all connections of a server share. They outlive the connections.
  struct Server {
    ConnectionOwner& owner;
    Budget& budget;
    ServerStats& stats;
    const std::string& x509_super;  // this certificate's subject is the superuser
    consensus::TlsContext* tls;     // null: no door has TLS
  };

  Connection(const Server& server, Socket socket, uint64_t number, Visitor visitor);

  uint64_t number() const { return number_; }  // its watcher's, too
  const std::string& address() const { return address_; }
  uint16_t port() const { return port_; }  // 0: it came by the Unix-domain socket
  // "address:port"
  std::string name() const;
  ServerStats& server_stats() const { return server_.stats; }
  std::chrono::system_clock::time_point since() const { return since_; }
  Clock::time_point since_steady() const { return since_steady_; }

  // For one expression; a handle that lives longer is made by its constructor.
  Locked lock() const { return Locked(*this); }

  // ---- on its own thread
  InBuffer& in() { return in_; }
  // The owner's `received` is called once bytes are there, or `closed`.
  void read();
  // Begins reading. To be called once, by the thread that has accepted the socket.
  void start();
  // The owner's `received` is called later, when other connections have had their turns.
  void take_later();
  // Frees the memory of the frames that were taken.
  void forget_taken();
  // Closes the socket and frees what it holds. `closed` was called.
  void release();

  // ---- on any thread, without the mutex
  // Sends the output, as far as the socket takes it. The rest follows by itself.
  void send();
  // Nothing more is read. It is shut once all that it is owed is sent.
  void finish();
  // Shuts it, and says why in the log.
  void refuse(const std::string& why);
  // Closes the socket. The server's threads have ended.
  void abandon();

  // ---- with its mutex. `why` goes to the log.
  // Nothing is read or sent any more.
  void shut(Locked& locked);
  void cut(Locked& locked, const std::string& why);
  // Nothing more is read. The next `send` shuts it, once all that it is owed is sent.
  void end(Locked& locked, const std::string& why);
  // A line of the log, about what strangers can cause.
  void warn(const std::string& line) const { server_.owner.warn(line); }

  // Its client was heard of since this was last asked.
  void note_heard() { is_heard_.store(true, std::memory_order_relaxed); }
  bool take_heard() { return is_heard_.exchange(false, std::memory_order_relaxed); }

  // ---- on the strand alone
  tree::Zxid attachment = tree::kFirstAttachment;  // of the session
  bool is_to_be_sent = false;                      // it is on the list of those (SendList)

 private:
  bool unseal(std::string_view bytes);
  void await_socket();
  void warn_of_end(const std::string& why) const;

  const Server server_;
  Socket socket_;
  const uint64_t number_;
  const std::string address_;
  const uint16_t port_;
  const bool is_with_tls_;
  const std::chrono::system_clock::time_point since_;
  const Clock::time_point since_steady_;
  std::atomic<bool> is_heard_{false};
  InBuffer in_;  // on its own thread

  mutable Mutex mutex_;
  mutable ConnectionState state_ GUARDED_BY(mutex_);
  // From `start` on; null: without.
  std::unique_ptr<consensus::TlsSession> tls_ GUARDED_BY(mutex_);
};

}  // namespace zabfs::fsd::wire
