#include "consensus/dialler.h"

#include <fmt/format.h>
#include <netdb.h>
#include <pthread.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

namespace zabfs::consensus {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr auto kSlowLookup = std::chrono::seconds(2);  // worth a line in the log
constexpr auto kQuiet = std::chrono::seconds(60);      // between such lines of one name
constexpr int kMaxThreads = 2;                         // a peer
constexpr int kMaxLookups = 64;                        // with those of who is no member
constexpr size_t kMaxNames = 512;
constexpr size_t kMaxAddresses = 8;

std::vector<asio::ip::address> addresses_of(const std::string& host, std::string& problem) {
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    problem = error == EAI_SYSTEM ? std::generic_category().message(errno) : ::gai_strerror(error);
    return {};
  }
  std::vector<asio::ip::address> found;
  for (addrinfo* entry = list; entry != nullptr && found.size() < kMaxAddresses;
       entry = entry->ai_next) {
    tcp::endpoint endpoint;
    if (entry->ai_addrlen > endpoint.capacity()) continue;
    std::memcpy(endpoint.data(), entry->ai_addr, entry->ai_addrlen);
    found.push_back(endpoint.address());
  }
  ::freeaddrinfo(list);
  if (found.empty()) problem = "it has no address";
  return found;
}

std::string text_of(const tcp::endpoint& endpoint) {
  const char* form = endpoint.address().is_v6() ? "[{}]:{}" : "{}:{}";
  return fmt::format(fmt::runtime(form), endpoint.address().to_string(), endpoint.port());
}

const char* name_of_port(Door door) { return door == Door::kElection ? "election" : "quorum"; }

bool contains(const std::vector<asio::ip::address>& all, const asio::ip::address& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

struct Dialler::Attempt {
  Attempt(asio::io_context& io, Target dialled, Done when_done)
      : target(std::move(dialled)), done(std::move(when_done)), limit(io) {}
  Target target;
  Done done;
  std::vector<Address> left, tried;
  std::optional<Address> current;
  std::shared_ptr<Socket> socket;  // of `current`
  asio::steady_timer limit;
  bool waits = false;  // for a look-up
  std::string why;     // the addresses so far did not answer
};

Dialler::Dialler(asio::io_context& io, ServerId me, Logger log, std::chrono::milliseconds limit)
    : io_(io),
      me_(me),
      log_(std::move(log)),
      limit_(limit),
      return_(std::make_shared<Return>(io)) {}

void Dialler::stop() {
  MutexLock lock(return_->mutex);
  return_->io = nullptr;
}

void Dialler::connect(const Target& target, Done done) {
  auto attempt = std::make_shared<Attempt>(io_, target, std::move(done));
  if (is_wildcard(target.host)) {
    tell(target, fmt::format("its address is {}, by which nobody reaches it", target.host));
    complain(target,
             fmt::format("the address of server {} is {}, by which nobody reaches it; write "
                         "its own address or name into the configuration",
                         target.id.value, target.host));
    return asio::post(io_, [attempt] { attempt->done(nullptr); });
  }
  error_code no_literal;
  Address literal = asio::ip::make_address(target.host, no_literal);
  if (!no_literal) {
    attempt->left = {literal};
    return try_next(attempt);
  }
  Name& name = name_of(target);
  attempt->left = name.found;
  attempt->waits = true;
  name.waiting.push_back(attempt);
  look_up(target);
  try_next(attempt);
}

void Dialler::learn(const Target& target) {
  error_code no_literal;
  asio::ip::make_address(target.host, no_literal);
  if (!no_literal || is_wildcard(target.host) || !name_of(target).found.empty()) return;
  look_up(target);
}

Dialler::Name& Dialler::name_of(const Target& target) {
  make_room();
  Name& name = names_[target.id];
  if (name.host != target.host) {
    name.host = target.host;
    name.found.clear();
    name.looking = false;
    name.complained = false;
    name.quiet_until = {};
  }
  return name;
}

void Dialler::look_up(const Target& target) {
  Name& name = names_[target.id];
  if (name.looking || name.threads == kMaxThreads) return;
  if (!target.is_member && threads_ >= kMaxLookups) {
    return asio::post(io_, [self = shared_from_this(), target] {
      self->found(target, {}, "too many names are being looked up");
    });
  }
  name.looking = true;
  name.since = Clock::now();
  auto look = [target, self = weak_from_this(), back = return_] {
    std::string problem;
    std::vector<Address> addresses = addresses_of(target.host, problem);
    MutexLock lock(back->mutex);  // so that io does not go meanwhile
    if (back->io == nullptr) return;
    asio::post(*back->io, [self, target, addresses = std::move(addresses), problem] {
      std::shared_ptr<Dialler> dialler = self.lock();
      if (!dialler) return;
      --dialler->threads_;
      --dialler->names_[target.id].threads;
      dialler->found(target, addresses, problem);
    });
  };
  try {
    std::thread thread(look);
    pthread_setname_np(thread.native_handle(), "zabfs-dns");
    thread.detach();
    ++name.threads;
    ++threads_;
  } catch (const std::system_error& error) {
    return asio::post(io_, [self = shared_from_this(), target, what = std::string(error.what())] {
      self->found(target, {}, what);
    });
  }
  auto timer = std::make_shared<asio::steady_timer>(io_, kSlowLookup);
  timer->async_wait([self = weak_from_this(), timer, target](error_code) {
    std::shared_ptr<Dialler> dialler = self.lock();
    if (!dialler) return;
    const Name& now = dialler->names_[target.id];
    if (now.looking && now.host == target.host && Clock::now() - now.since >= kSlowLookup) {
      dialler->does_not_resolve(target, fmt::format("no answer in {} s", kSlowLookup.count()));
    }
  });
}

void Dialler::found(const Target& target, std::vector<Address> addresses,
                    const std::string& problem) {
  Name& name = names_[target.id];
  if (name.host != target.host) {  // it has changed; is another look-up due?
    if (!name.waiting.empty()) look_up(name.waiting.front()->target);
    return;
  }
  name.looking = false;
  if (addresses.empty()) {
    does_not_resolve(target, problem);
  } else {
    if (std::exchange(name.complained, false)) {
      log_(LogLevel::kInfo,
           fmt::format("node {}: {}, the name of server {}, resolves to {}", me_.value, target.host,
                       target.id.value, addresses.front().to_string()));
    }
    std::erase_if(name.found, [&](const Address& a) { return !contains(addresses, a); });
    for (const Address& address : addresses) {
      if (!contains(name.found, address)) name.found.push_back(address);
    }
  }
  for (const AttemptPtr& attempt : std::exchange(name.waiting, {})) {
    if (attempt->target.host != target.host) {
      finish(attempt, nullptr);
      continue;
    }
    attempt->waits = false;
    if (!attempt->done) continue;
    for (const Address& address : addresses) {
      if (!contains(attempt->tried, address) && !contains(attempt->left, address)) {
        attempt->left.push_back(address);
      }
    }
    // The address under trial may be an old one of the peer's.
    bool outdated =
        attempt->current && !addresses.empty() && !contains(addresses, *attempt->current);
    if (!attempt->current || outdated) try_next(attempt);
  }
}

void Dialler::try_next(const AttemptPtr& attempt) {
  if (!attempt->done) return;
  error_code ignored;
  if (attempt->socket) attempt->socket->close(ignored);
  attempt->socket.reset();
  attempt->current.reset();
  attempt->limit.cancel();
  if (attempt->left.empty()) {
    // Who knew an address and didn't get through dials again; the look-up goes on for that.
    if (attempt->waits && attempt->tried.empty()) return;
    return finish(attempt, nullptr);
  }
  Address address = attempt->left.front();
  attempt->left.erase(attempt->left.begin());
  attempt->tried.push_back(address);
  attempt->current = address;
  auto socket = std::make_shared<Socket>(io_);
  attempt->socket = socket;
  attempt->limit.expires_after(limit_);
  attempt->limit.async_wait([socket](error_code cancelled) {
    error_code closed;
    if (!cancelled) socket->close(closed);
  });
  socket->async_connect(
      tcp::endpoint(address, attempt->target.port),
      [self = shared_from_this(), attempt, socket, address](error_code failed) {
        if (attempt->socket != socket) return;
        attempt->limit.cancel();
        if (failed || !socket->is_open()) {
          self->came_to_nothing(attempt, failed);
          return self->try_next(attempt);
        }
        auto name = self->names_.find(attempt->target.id);
        if (name != self->names_.end() && name->second.host == attempt->target.host) {
          std::vector<Address>& known = name->second.found;
          auto worked = std::find(known.begin(), known.end(), address);
          if (worked != known.end()) std::rotate(known.begin(), worked, worked + 1);
        }
        self->finish(attempt, socket);
      });
}

// `error`: of the address under trial.
void Dialler::came_to_nothing(const AttemptPtr& attempt, const error_code& error) {
  namespace errc = boost::system::errc;
  const Target& target = attempt->target;
  std::string to = fmt::format("its {} port {}", name_of_port(target.door),
                               text_of({attempt->tried.back(), target.port}));
  std::string why = fmt::format("{}: {}", to, error.message());
  if (error == errc::connection_refused) {
    why = fmt::format("{} refuses connections (does its zabfsd run?)", to);
  } else if (!error || error == asio::error::operation_aborted || error == errc::timed_out) {
    why =
        fmt::format("{} does not answer within {} ms (is the machine up, and no firewall between?)",
                    to, limit_.count());
  } else if (error == errc::host_unreachable || error == errc::network_unreachable) {
    why = fmt::format("there is no route to {}", to);
  }
  attempt->why += (attempt->why.empty() ? "" : ", ") + why;
}

void Dialler::tell(const Target& target, const std::string& why) const {
  if (target.is_member) trouble_(target, why);
}

void Dialler::finish(const AttemptPtr& attempt, std::shared_ptr<Socket> socket) {
  if (!socket && !attempt->why.empty()) tell(attempt->target, attempt->why);
  auto name = names_.find(attempt->target.id);
  if (name != names_.end()) std::erase(name->second.waiting, attempt);
  Done done = std::exchange(attempt->done, nullptr);
  if (done) done(std::move(socket));
}

void Dialler::does_not_resolve(const Target& target, const std::string& problem) {
  const Name& name = names_[target.id];
  std::string meanwhile =
      name.found.empty()
          ? fmt::format("server {} can't be dialled", target.id.value)
          : fmt::format("its last address {} is used", name.found.front().to_string());
  if (name.found.empty()) {
    tell(target, fmt::format("its name {} does not resolve: {}", target.host, problem));
  }
  complain(target, fmt::format("{}, the name of server {}, does not resolve: {}; {} until it does. "
                               "Check DNS or /etc/hosts here, or write an address in the place of "
                               "the name",
                               target.host, target.id.value, problem, meanwhile));
}

void Dialler::complain(const Target& target, const std::string& what) {
  Name& name = names_[target.id];
  name.complained = true;
  if (Clock::now() < name.quiet_until) return;
  name.quiet_until = Clock::now() + kQuiet;
  log_(LogLevel::kWarning, fmt::format("node {}: {}", me_.value, what));
}

// Names of servers that came and went.
void Dialler::make_room() {
  if (names_.size() < kMaxNames) return;
  std::erase_if(names_, [](const auto& entry) {
    return entry.second.threads == 0 && entry.second.waiting.empty();
  });
}

}  // namespace zabfs::consensus
