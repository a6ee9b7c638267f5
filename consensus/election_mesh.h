// Everything about the election port: one connection a peer, the newest vote for each, and the
// hellos of those who come. All on the io thread.
//
// A server that is not a member may become one; until then its hello says where it listens. Bounds:
// most_strangers() connections that have not said who they are, for kHelloLimit each; as many
// strangers.
//
// A member without a connection is dialled again each kProbeEvery, while this node serves, too: so
// this node knows why it can't be reached. One that closed a connection of some age is dialled at
// once. For example, a server of Java's closes all when its members change, and is there.
// Rules: FORMATS.md 4.1, 4.2; Java: QuorumCnxManager.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "consensus/claims.h"
#include "consensus/dialler.h"
#include "consensus/guests.h"
#include "consensus/strand.h"
#include "consensus/tls_stream.h"

namespace zabfs::consensus {

class ElectionMesh : public std::enable_shared_from_this<ElectionMesh> {
 public:
  using tcp = boost::asio::ip::tcp;

  // `log` is for what others can cause at will.
  ElectionMesh(boost::asio::io_context& io, Strand& strand, ServerId me,
               std::map<ServerId, Member> members, std::shared_ptr<Dialler> dialler,
               TlsContext* tls, Dialler::Logger log);

  tcp::acceptor& acceptor() { return acceptor_; }
  // Votes go to `receiver` from now on, on the strand.
  void start(Receiver& receiver);
  void set_members(const std::map<ServerId, Member>& members);
  bool is_member(ServerId id) const { return members_.contains(id); }
  bool is_connected(ServerId id) const;
  // The newest vote for a peer replaces one not yet sent.
  void send(ServerId to, std::string payload);

 private:
  using error_code = boost::system::error_code;
  using StreamPtr = std::shared_ptr<TlsStream>;
  struct Peer {
    StreamPtr socket;     // the connection that stays; null if there is none
    Claims::Claim claim;  // whose it is
    int64_t since_ms = 0;
    bool dialling = false;
    bool writing = false;
    std::string last;                 // the last vote for this peer; repeated on a new connection
    std::optional<std::string> next;  // the vote to send
  };
  struct Stranger {
    Member member;
    Guests::Ticket ticket = 0;
  };
  struct Arrival;  // a connection that has not said who it is
  using ArrivalPtr = std::shared_ptr<Arrival>;

  void accept();
  void read_hello(const StreamPtr& socket);
  void read_head(const ArrivalPtr& arrival);
  void read_address(const ArrivalPtr& arrival, ServerId from, size_t length);
  void refuse(const ArrivalPtr& arrival, const std::string& why);
  bool welcomes(ServerId from, const std::string& address, const std::string& came_from);
  void forget_stranger(ServerId id);
  std::optional<Dialler::Target> find(ServerId id) const;
  // Of the connection of that server that stays; null: there is none.
  const std::string* live_port(ServerId id) const;
  void note_claim(ServerId from, const StreamPtr& socket, const std::string& address);
  void on_hello(const StreamPtr& socket, ServerId from, const std::string& port);
  void adopt(ServerId id, const StreamPtr& socket, const std::string& port);
  void dial(ServerId id);
  void probe();
  void say_hello(ServerId id, const StreamPtr& socket);
  void wait_for_return(ServerId id, const StreamPtr& socket);
  void note_unreachable(ServerId id, const std::string& why);
  void write(ServerId id);
  void read_vote(ServerId id, const StreamPtr& socket);
  void take_vote(ServerId from, const std::string& payload);
  void lost(ServerId id, const StreamPtr& socket, const std::string& why);

  boost::asio::io_context& io_;
  Strand& strand_;
  ServerId me_;
  const Member self_;
  std::map<ServerId, Member> members_;
  std::map<ServerId, Stranger> strangers_;  // by their own word
  Guests known_strangers_, arrivals_;
  std::shared_ptr<Dialler> dialler_;
  TlsContext* tls_;  // null: none
  const Dialler::Logger log_;
  tcp::acceptor acceptor_;
  boost::asio::steady_timer pause_, probe_timer_;
  Receiver* receiver_ = nullptr;
  std::map<ServerId, Peer> peers_;
  Claims claims_;
};

}  // namespace zabfs::consensus
