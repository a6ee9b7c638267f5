// Connections to other members, by name or address. A dial never waits for the look-up of
// another name: each name is looked up on a thread of its own, for a resolver may take minutes, or
// never answer.
//
// A look-up goes with every dial, since names may move to other addresses; what is known already is
// tried at once beside it, the address that worked last before the others. An address counts its
// time from when it is tried. Address literals are never looked up.
//
// Limits: two look-ups under way a peer (the second if its name changed meanwhile), kMaxLookups for
// all that are no members; kMaxAddresses a name.
// `connect` and its answers are the io thread's; `stop` may come from any thread.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "consensus/environment.h"
#include "consensus/mutex.h"

namespace zabfs::consensus {

class Dialler : public std::enable_shared_from_this<Dialler> {
 public:
  using Socket = boost::asio::ip::tcp::socket;
  using Done = std::function<void(std::shared_ptr<Socket>)>;  // null: it came to nothing
  using Logger = std::function<void(LogLevel, const std::string&)>;
  struct Target;
  // Is told why a dial came to nothing, or waits: a clause that names the address.
  using Trouble = std::function<void(const Target&, const std::string& why)>;

  // `limit`: for an address to answer.
  Dialler(boost::asio::io_context& io, ServerId me, Logger log,
          std::chrono::milliseconds limit = std::chrono::seconds(2));

  struct Target {
    ServerId id;
    bool is_member = true;
    std::string host;
    uint16_t port = 0;
    Door door = Door::kElection;  // what that port is
  };
  // Before the first dial.
  void tell_troubles_to(Trouble trouble) { trouble_ = std::move(trouble); }
  void connect(const Target& target, Done done);
  // Looks up the name of a peer that came by itself, if its addresses are not known. It may have to
  // be dialled after the name servers have died.
  void learn(const Target& target);
  // Look-ups under way are left to themselves; nothing is heard of them.
  void stop();

 private:
  using Address = boost::asio::ip::address;
  using Clock = std::chrono::steady_clock;
  struct Attempt;
  using AttemptPtr = std::shared_ptr<Attempt>;
  // What is known of a peer's name.
  struct Name {
    std::string host;
    std::vector<Address> found;  // the one that worked last is the first
    bool looking = false;        // for `host`, since then:
    Clock::time_point since;
    int threads = 0;  // one more, if `host` has changed meanwhile
    std::vector<AttemptPtr> waiting;
    Clock::time_point quiet_until;
    bool complained = false;
  };
  // How a look-up's thread comes back, if there is still something to come back to.
  struct Return {
    explicit Return(boost::asio::io_context& where) : io(&where) {}
    Mutex mutex;
    boost::asio::io_context* io GUARDED_BY(mutex);  // null: stopped
  };

  void look_up(const Target& target);
  void found(const Target& target, std::vector<Address> addresses, const std::string& problem);
  void try_next(const AttemptPtr& attempt);
  void finish(const AttemptPtr& attempt, std::shared_ptr<Socket> socket);
  // What is known of the target's name; nothing yet if it had another one.
  Name& name_of(const Target& target);
  void came_to_nothing(const AttemptPtr& attempt, const boost::system::error_code& error);
  void tell(const Target& target, const std::string& why) const;
  void does_not_resolve(const Target& target, const std::string& problem);
  void complain(const Target& target, const std::string& what);
  void make_room();

  boost::asio::io_context& io_;
  ServerId me_;
  Logger log_;
  Trouble trouble_ = [](const Target&, const std::string&) {};
  const std::chrono::milliseconds limit_;
  std::map<ServerId, Name> names_;
  int threads_ = 0;
  std::shared_ptr<Return> return_;
};

}  // namespace zabfs::consensus
