// Transport over TCP: the election mesh on the election port, learner links on the quorum port.
//
// Calls come on the strand; sockets are read on the io_context's one thread, which posts what it
// decoded to the strand. Learner links are written from the strand itself, without a hand-off;
// only when the kernel's buffer is full does the io thread wait for room. A peer's malformed bytes
// close its connection, with a line in the log. Bounds: kMaxUnsentBytes for a learner; of links
// that came, a member's each and most_strangers() others, which say in kIntroductionLimit who they
// are.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "consensus/dialler.h"
#include "consensus/environment.h"
#include "consensus/guests.h"
#include "consensus/strand.h"
#include "consensus/tls.h"

namespace zabfs::consensus {

class ElectionMesh;

class TcpTransport : public Transport {
 public:
  using Logger = std::function<void(LogLevel, const std::string&)>;

  // `is_alone`: no ports are needed. `sync_ms`: a learner link is given up when nothing was
  // acknowledged on it for so long. `connect_ms`: for an address of a member to answer. With `tls`
  // both ports speak nothing else. `guest_log` is for what others can cause at will; on any thread.
  TcpTransport(boost::asio::io_context& io, Strand& strand, ServerId me, const Ensemble& ensemble,
               bool is_alone, int sync_ms, int connect_ms, TlsContext* tls, Logger log,
               Logger guest_log);
  ~TcpTransport() override;

  // Binds both ports. `all_addresses`: quorumListenOnAllIPs.
  Status listen(bool all_addresses);
  void start(Receiver& receiver);

  // On the strand.
  void set_members(const std::map<ServerId, Member>& members) override;
  void send_vote(ServerId to, const Notification& notification) override;
  void dial(ServerId leader, LinkId link) override;
  void send(LinkId link, const std::string& bytes) override;
  size_t unsent(LinkId link) override;
  LinkFlow flow(LinkId link) override;
  void hold(LinkId link, bool held) override;
  void close(LinkId link, const std::string& reason) override;
  void flush() override;

 private:
  using tcp = boost::asio::ip::tcp;
  struct Link;

  void note_reached(ServerId id, Door door);
  void note_unreachable(ServerId id, Door door, const std::string& why);
  void accept_learner();
  void admit(const std::shared_ptr<Link>& link);
  std::string introduce(Link& link, const Packet& packet);
  void start_link(std::shared_ptr<Link> link, const Dialler::Target* dialled);
  void read(std::shared_ptr<Link> link);
  void lose(const std::shared_ptr<Link>& link, const std::string& why = {});
  void drop(const std::shared_ptr<Link>& link);
  void flush_link(const std::shared_ptr<Link>& link);

  boost::asio::io_context& io_;
  Strand& strand_;
  ServerId me_;
  std::map<ServerId, Member> members_;  // on the strand
  const Member self_;                   // as configured
  const bool is_alone_;
  int sync_ms_;
  TlsContext* tls_;  // null: none
  Logger log_;
  Receiver* receiver_ = nullptr;
  const Logger guest_log_;
  Guests guests_;  // on the io thread, as what follows
  std::shared_ptr<Dialler> dialler_;
  tcp::acceptor quorum_acceptor_;
  boost::asio::steady_timer pause_;
  std::shared_ptr<ElectionMesh> mesh_;
  // On the strand:
  std::map<LinkId, std::shared_ptr<Link>> links_;
  std::set<LinkId> dirty_;
};

}  // namespace zabfs::consensus
