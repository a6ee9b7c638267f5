#include "fsd/tool/server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <zookeeper/zookeeper.h>

#include <algorithm>
#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <utility>

#include "consensus/mutex.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace {

constexpr size_t kMaxCredentialBytes = 4u << 10;
constexpr int kMaxConfigurationBytes = 256 << 10;

struct Address {
  std::string host, port;
};

std::optional<Address> parse_address(const std::string& text) {
  size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  Address address{text.substr(0, colon), text.substr(colon + 1)};
  if (address.host.starts_with('[') && address.host.ends_with(']')) {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  uint16_t port = 0;
  const char* end = address.port.data() + address.port.size();
  auto [port_end, error] = std::from_chars(address.port.data(), end, port);
  bool is_port = error == std::errc() && port_end == end && port != 0;
  // The C library would take these for a list of servers, and for a directory.
  bool is_host = address.host.find_first_of(",/ ") == std::string::npos;
  return is_port && is_host ? std::optional(address) : std::nullopt;
}

Status no_address(const std::string& text) { return Status::failed(text + ": not HOST:PORT"); }

// Nothing that a terminal would obey.
std::string printable(std::string text) {
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c != '\n' && (c < ' ' || c > '~'); }, '?');
  return text;
}

// Of a four-letter word.
StatusOr<std::string> ask(const std::string& where, const std::string& word) {
  std::optional<Address> address = parse_address(where);
  if (!address) return no_address(where);
  boost::asio::ip::tcp::iostream stream;
  stream.expires_after(std::chrono::seconds(kAnswerS));
  stream.connect(address->host, address->port);
  if (!stream) {
    std::string why = stream.error() == boost::asio::error::operation_aborted
                          ? fmt::format("no answer in {} s", kAnswerS)
                          : stream.error().message();
    return Status::failed(fmt::format("{}: {}", where, why));
  }
  stream << word << std::flush;
  std::string answer;
  for (char c = 0; answer.size() < kMaxAnswerBytes && stream.get(c);) answer += c;
  return printable(answer);
}

// `Mode: leader` of `srvr`; empty: it says nothing.
std::string value_in(const std::string& answer, const std::string& name) {
  std::istringstream lines(answer);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ": ")) return line.substr(name.size() + 2);
  }
  return {};
}

std::string version_in(const std::string& answer) {
  std::string version = value_in(answer, "Zookeeper version");
  bool is_ours = version.find("-zabfs") != std::string::npos;
  return version.empty() ? "-" : is_ours ? "zabfs" : "ZooKeeper";
}

std::string role_of(const std::string& mode) {
  if (mode == "leader" || mode == "standalone") return "leader";
  return mode == "follower" || mode == "observer" ? mode : "looking";
}

// `host:2888:3888:role;[client:]port` of /zookeeper/config.
ClusterMember member_of(const std::string& id, const std::string& line) {
  size_t semicolon = line.find(';');
  std::string servers = line.substr(0, semicolon);
  bool observes = servers.ends_with(":observer");
  size_t host_end = servers.starts_with('[') ? servers.find(']') + 1 : servers.find(':');
  std::string host = servers.substr(0, host_end);
  size_t port_end = servers.find(':', std::min(host_end + 1, servers.size()));
  ClusterMember member;
  member.id = id;
  member.address = servers.substr(0, port_end);
  member.role = "looking";
  member.facts["votes"] = observes ? "no" : "yes";
  if (semicolon == std::string::npos) return member;
  std::string client = line.substr(semicolon + 1);
  std::optional<Address> address = parse_address(client);
  bool is_everywhere = !address || address->host == "0.0.0.0" || address->host == "::";
  member.facts["client"] = is_everywhere ? host + ":" + (address ? address->port : client) : client;
  return member;
}

void ask_member(ClusterMember& member) {
  std::string client = member.fact("client");
  if (client == "-") {
    member.unreachable = "it has no client address in /zookeeper/config, at which to ask it";
    return;
  }
  StatusOr<std::string> answer = ask(client, "srvr");
  if (!answer.ok()) {
    member.unreachable = "asked by this command: " + answer.why();
    return;
  }
  member.facts["version"] = version_in(*answer);
  std::string mode = value_in(*answer, "Mode");
  if (mode.empty()) return;
  member.role = role_of(mode);
  member.facts["zxid"] = value_in(*answer, "Zxid");
  member.facts["heard"] = "0";
}

std::vector<ClusterMember> members_in(const std::string& configuration) {
  std::vector<ClusterMember> members;
  std::istringstream lines(configuration);
  for (std::string line; std::getline(lines, line);) {
    size_t equals = line.find('=');
    if (!line.starts_with("server.") || equals == std::string::npos) continue;
    constexpr size_t kKeyBytes = std::string_view("server.").size();
    members.push_back(
        member_of(line.substr(kKeyBytes, equals - kKeyBytes), line.substr(equals + 1)));
  }
  return members;
}

// How many of the voters answered, and who leads.
void count_quorum(Cluster& cluster) {
  size_t voters = 0, present = 0;
  for (const ClusterMember& member : cluster.members) {
    if (member.role == "leader") cluster.values["leader"] = member.id;
    if (member.fact("votes") != "yes") continue;
    ++voters;
    if (member.is_here()) ++present;
  }
  if (voters == 0) return;
  cluster.values["voters"] = std::to_string(voters);
  cluster.values["present"] = std::to_string(present);
  if (2 * present > voters) cluster.values["may_lose"] = std::to_string(present - voters / 2 - 1);
}

// The server itself, by its answer to `srvr`; the other facts of `@/cluster` it does not tell.
Cluster server_in(const std::string& answer, const std::string& where) {
  std::string mode = value_in(answer, "Mode");
  Cluster cluster;
  for (const char* unknown :
       {"node", "ensemble", "leader", "epoch", "zxid", "votes", "disk", "voters", "present",
        "may_lose", "connections", "sessions", "disk_free", "disk_size", "history"}) {
    cluster.values[unknown] = "-";
  }
  cluster.values["role"] = role_of(mode);
  cluster.values["quorum"] = mode.empty() ? "no" : "yes";
  cluster.values["version"] = version_in(answer);
  cluster.notes.push_back(where +
                          " does not answer `clus`: put that word into 4lw.commands.whitelist of "
                          "a zabfs server to see more");
  if (mode.empty()) return cluster;
  cluster.values["zxid"] = value_in(answer, "Zxid");
  cluster.values["epoch"] = std::to_string(zxid_of(cluster.values["zxid"]) >> 32);
  cluster.values["connections"] = value_in(answer, "Connections");
  return cluster;
}

StatusOr<std::string> configuration_of(const ServerOptions& options, ServerSession* session) {
  if (session != nullptr) return session->configuration();
  StatusOr<std::unique_ptr<ServerSession>> opened = ServerSession::open(options);
  if (!opened.ok()) return opened.status();
  return (*opened)->configuration();
}

// What any server of ZooKeeper's protocol tells.
StatusOr<Cluster> cluster_of_srvr(const ServerOptions& options, ServerSession* session) {
  StatusOr<std::string> answer = ask(options.address, "srvr");
  if (!answer.ok()) return answer.status();
  bool waits = answer->find("not currently serving") != std::string::npos;
  if (value_in(*answer, "Mode").empty() && !waits) {
    return Status::failed(options.address +
                          " does not answer `srvr`: is it a clientPort? It may "
                          "not be in the server's 4lw.commands.whitelist");
  }
  Cluster cluster = server_in(*answer, options.address);
  if (!cluster.has_quorum()) return cluster;
  StatusOr<std::string> configuration = configuration_of(options, session);
  if (!configuration.ok()) {
    cluster.notes.push_back(configuration.why());
    return cluster;
  }
  cluster.members = members_in(printable(*configuration));
  for (ClusterMember& member : cluster.members) ask_member(member);
  count_quorum(cluster);
  return cluster;
}

// ---- credentials

// A terminal shows nothing of what is typed meanwhile.
class Silence {
 public:
  explicit Silence(int fd) : fd_(fd), is_terminal_(::tcgetattr(fd, &before_) == 0) {
    if (!is_terminal_) return;
    termios quiet = before_;
    quiet.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    ::tcsetattr(fd_, TCSAFLUSH, &quiet);
    fmt::print(stderr, "SCHEME:CREDENTIALS, as digest:USER:PASSWORD: ");
  }
  Silence(const Silence&) = delete;
  Silence& operator=(const Silence&) = delete;
  ~Silence() {
    if (!is_terminal_) return;
    ::tcsetattr(fd_, TCSAFLUSH, &before_);
    fmt::print(stderr, "\n");
  }

 private:
  const int fd_;
  termios before_ = {};
  const bool is_terminal_;
};

StatusOr<std::string> read_secret_file(const std::string& file) {
  int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);  // a FIFO keeps nobody waiting
  if (fd < 0) return Status::failed(error_of(file));
  struct stat st = {};
  bool is_file = ::fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  bool is_private = (st.st_mode & (S_IRWXG | S_IRWXO)) == 0;
  bool is_ours = st.st_uid == ::geteuid() || st.st_uid == 0;
  std::optional<std::string> text;
  bool is_small = static_cast<size_t>(std::max<off_t>(st.st_size, 0)) <= kMaxCredentialBytes;
  if (is_file && is_private && is_ours && is_small) text = read_all(fd);
  ::close(fd);
  if (!is_file) return Status::failed(file + ": not a file");
  if (!is_private) return Status::failed(file + ": others can read or write it: chmod 600 it");
  if (!is_ours) return Status::failed(file + ": it belongs to another user");
  if (!is_small) return Status::failed(file + ": too long");
  if (!text) return Status::failed(error_of(file));
  return *text;
}

// ---- the session

int errno_of(int code) {
  switch (code) {
    case ZOK:
      return 0;
    case ZNOAUTH:
    case ZAUTHFAILED:
      return EACCES;
    case ZBADARGUMENTS:
      return EINVAL;
    case ZNEWCONFIGNOQUORUM:
      return EBUSY;
    case ZRECONFIGINPROGRESS:
      return EAGAIN;
    case ZBADVERSION:
      return ESTALE;
    case ZUNIMPLEMENTED:
    case ZRECONFIGDISABLED:
      return EOPNOTSUPP;
    case ZNOTREADONLY:
      return EROFS;
    case ZCONNECTIONLOSS:
    case ZOPERATIONTIMEOUT:
    case ZSESSIONEXPIRED:
      return ECONNRESET;
    default:
      return EIO;
  }
}

}  // namespace

Status ServerOptions::take_credentials() {
  std::string text;
  if (auth_file == "-") {
    Silence silence(STDIN_FILENO);
    std::getline(std::cin, text);
  } else if (!auth_file.empty()) {
    StatusOr<std::string> read = read_secret_file(auth_file);
    if (!read.ok()) return read.status();
    text = read->substr(0, read->find('\n'));
  } else if (const char* given = std::getenv("ZABFS_AUTH"); given != nullptr && *given != '\0') {
    text = given;
  } else {
    return {};
  }
  size_t colon = text.find(':');
  if (colon == std::string::npos || colon == 0 || text.size() > kMaxCredentialBytes) {
    return Status::failed("the credentials are not SCHEME:CREDENTIALS, as digest:USER:PASSWORD");
  }
  credentials = std::move(text);
  return {};
}

StatusOr<Cluster> cluster_of_server(const ServerOptions& options, ServerSession* session) {
  StatusOr<std::string> answer = ask(options.address, "clus");
  if (!answer.ok()) return answer.status();
  if (answer->starts_with("node ")) return parse_cluster(*answer);
  return cluster_of_srvr(options, session);
}

struct ServerSession::Connection {
  zhandle_t* handle = nullptr;
  Mutex mutex;  // of what the library's threads tell
  ConditionVariable changed;
  bool is_connected GUARDED_BY(mutex) = false;
  bool is_refused GUARDED_BY(mutex) = false;
  std::optional<int> authenticated GUARDED_BY(mutex);  // what came of it

  ~Connection() {
    if (handle != nullptr) zookeeper_close(handle);
  }
  // Called on the library's threads.
  static void on_event(zhandle_t*, int type, int state, const char*, void* context) {
    auto* self = static_cast<Connection*>(context);
    if (type != ZOO_SESSION_EVENT) return;
    MutexLock lock(self->mutex);
    self->is_connected = state == ZOO_CONNECTED_STATE;
    self->is_refused = state == ZOO_AUTH_FAILED_STATE;
    self->changed.notify_all();
  }
  static void on_authenticated(int code, const void* context) {
    auto* self = static_cast<Connection*>(const_cast<void*>(context));
    MutexLock lock(self->mutex);
    self->authenticated = code;
    self->changed.notify_all();
  }
  bool wait_for_session() EXCLUDES(mutex) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kSessionS);
    MutexLock lock(mutex);
    while (!is_connected && !is_refused && changed.wait_until(mutex, end)) {
    }
    return is_connected;
  }
  // Whether the server accepts them.
  bool authenticate(const std::string& scheme, const std::string& credentials) EXCLUDES(mutex) {
    int code = zoo_add_auth(handle, scheme.c_str(), credentials.data(),
                            static_cast<int>(credentials.size()), on_authenticated, this);
    if (code != ZOK) return false;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(kSessionS);
    MutexLock lock(mutex);
    while (!authenticated && changed.wait_until(mutex, end)) {
    }
    return authenticated == ZOK;
  }
};

ServerSession::ServerSession(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)) {}

ServerSession::~ServerSession() = default;

StatusOr<std::unique_ptr<ServerSession>> ServerSession::open(const ServerOptions& options) {
  std::optional<Address> address = parse_address(options.address);
  if (!address) return no_address(options.address);
  std::string server = address->host + ":" + address->port;  // IPv6, too, without brackets
  zoo_set_debug_level(static_cast<ZooLogLevel>(0));          // it would write to standard error
  auto connection = std::make_unique<Connection>();
  Connection* raw = connection.get();
  raw->handle =
      zookeeper_init(server.c_str(), Connection::on_event, kSessionS * 1'000, nullptr, raw, 0);
  if (raw->handle == nullptr) {
    return Status::failed(fmt::format("{}: {}", options.address, std::strerror(errno)));
  }
  if (!raw->wait_for_session()) {
    return Status::failed(
        fmt::format("{}: no session in {} s (has it a quorum?)", options.address, kSessionS));
  }
  size_t colon = options.credentials.find(':');
  std::string scheme = options.credentials.substr(0, colon);
  if (!scheme.empty() && !raw->authenticate(scheme, options.credentials.substr(colon + 1))) {
    return Status::failed(
        fmt::format("{}: does not accept the credentials of scheme {}", options.address, scheme));
  }
  return std::unique_ptr<ServerSession>(new ServerSession(std::move(connection)));
}

tree::SessionId ServerSession::id() const {
  return tree::SessionId{zoo_client_id(connection_->handle)->client_id};
}

StatusOr<std::string> ServerSession::configuration() {
  std::string data(kMaxConfigurationBytes, '\0');
  int length = kMaxConfigurationBytes;
  struct Stat node = {};
  int code = zoo_getconfig(connection_->handle, 0, data.data(), &length, &node);
  if (code != ZOK) return Status::failed(fmt::format("/zookeeper/config: {}", zerror(code)));
  data.resize(static_cast<size_t>(std::max(length, 0)));
  return data;
}

int ServerSession::reconfigure(const std::string& members, int64_t version) {
  std::string data(kMaxConfigurationBytes, '\0');
  int length = kMaxConfigurationBytes;
  struct Stat node = {};
  return errno_of(zoo_reconfig(connection_->handle, nullptr, nullptr, members.c_str(), version,
                               data.data(), &length, &node));
}

}  // namespace zabfs::tool
