#include "fsd/migrate/live_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include "consensus/ensemble.h"

namespace zabfs::migrate {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kConnectLimit = std::chrono::seconds(5);
// For a session of our own to be over, which would expire in the copy otherwise.
constexpr std::chrono::milliseconds kOwnLimit = std::chrono::seconds(3);
constexpr size_t kMaxAnswerBytes = size_t{64} << 10;  // of `srvr`
constexpr size_t kMaxShownBytes = 60;                 // of an answer that is none
constexpr uint16_t kClientPort = 2181;

constexpr const char* kRemedy =
    "A server has its quorum port open only while it leads. The data of a server that is stopped "
    "can be taken over, too: zabfs import-zookeeper DATADIR TO";

std::string printable(std::string_view text) {
  std::string shown(text.substr(0, kMaxShownBytes));
  std::replace_if(
      shown.begin(), shown.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return shown;
}

// `leader` in the line `Mode: leader`; empty: there is no such line.
std::string_view value_in(std::string_view answer, std::string_view name) {
  size_t at = answer.find(name);
  if (at == std::string_view::npos) return {};
  std::string_view rest = answer.substr(at + name.size());
  return rest.substr(0, rest.find_first_of("\r\n"));
}

bool is_tls_record(std::string_view answer) {
  return answer.size() >= 2 && answer[0] >= 0x14 && answer[0] <= 0x16 && answer[1] == 3;
}

// A number that no server has: not even that of one of zabfs's without a vote.
tree::ServerId strangers_number() {
  std::random_device random;
  return tree::ServerId{2 * consensus::kWithoutVote + int64_t{random() >> 1}};
}

}  // namespace

StatusOr<std::vector<PeerAddress>> parse_addresses(const std::string& text) {
  std::vector<PeerAddress> found;
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find(',', begin), text.size());
    std::string word = text.substr(begin, end - begin);
    begin = end + 1;
    if (word.find('/') != std::string::npos) {
      return Status::failed(fmt::format(
          "{}: --live copies all of the tree: give the addresses without a path", word));
    }
    PeerAddress address{word, kClientPort};
    size_t colon = word.rfind(':');
    bool has_port = colon != std::string::npos && (word[0] != '[' || word[colon - 1] == ']');
    bool is_good = true;
    if (has_port) {
      const char* last = word.data() + word.size();
      auto [digits_end, error] = std::from_chars(word.data() + colon + 1, last, address.port);
      is_good = error == std::errc() && digits_end == last && address.port != 0;
      address.host.resize(colon);
    }
    if (address.host.starts_with('[') && address.host.ends_with(']')) {
      address.host = address.host.substr(1, address.host.size() - 2);
    }
    is_good = is_good && !address.host.empty() && address.host.find(' ') == std::string::npos;
    if (!is_good) return Status::failed(fmt::format("\"{}\": not HOST:PORT", printable(word)));
    found.push_back(std::move(address));
    if (found.size() > LiveSource::kMaxAddresses) {
      return Status::failed(fmt::format("more than {} addresses", LiveSource::kMaxAddresses));
    }
  }
  return found;
}

// ---- who there is

// A client port answers a word, and has closed the connection then. A quorum port waits for the
// beginning of a packet, and closes it without a word when it hears that no more comes.
StatusOr<LiveSource::Port> LiveSource::kind_of(const PeerAddress& address,
                                               std::string& answer) const {
  auto connection = PeerConnection::open(address, kConnectLimit, nullptr);
  if (!connection.ok()) return connection.status();
  Status status = (*connection)->send("srvr", options_.silence);
  if (!status.ok()) return status;
  (*connection)->finish_sending();
  while (answer.size() < kMaxAnswerBytes) {
    StatusOr<std::string_view> piece = (*connection)->receive(options_.silence);
    if (!piece.ok() && answer.empty()) return piece.status();
    if (!piece.ok() || piece->empty()) break;
    answer += *piece;
  }
  if (answer.empty() || is_tls_record(answer)) return Port::kMayBeQuorum;
  bool is_client = answer.starts_with("Zookeeper version: ") ||
                   answer.find("in the whitelist") != std::string::npos ||
                   answer.find("not currently serving requests") != std::string::npos;
  return is_client ? Port::kClient : Port::kNone;
}

Status LiveSource::look_at(const PeerAddress& address) {
  std::string answer;
  StatusOr<Port> port = kind_of(address, answer);
  std::string name = address.text();
  if (!port.ok()) {
    reasons_.push_back(fmt::format("{}: {}", name, port.why()));
  } else if (*port == Port::kNone) {
    reasons_.push_back(
        fmt::format("{}: no port of ZooKeeper's: it answered \"{}\"", name, printable(answer)));
  } else if (*port == Port::kClient) {
    return note_client_port(address, answer);
  } else if (!answer.empty() && options_.tls == nullptr) {
    reasons_.push_back(
        fmt::format("{}: speaks TLS. If it is a quorum port, --tls FILE names a zoo.cfg with "
                    "sslQuorum=true and "
                    "the ssl.quorum.* stores; if it is a port for clients, give the quorum ports",
                    name));
  } else {
    add_candidate(address, name);
  }
  return {};
}

Status LiveSource::note_client_port(const PeerAddress& address, const std::string& answer) {
  std::string_view mode = value_in(answer, "Mode: ");
  bool is_zabfs = value_in(answer, "Zookeeper version: ").find("-zabfs") != std::string_view::npos;
  if (is_zabfs && (mode == "leader" || mode == "standalone")) {
    return Status::failed(
        fmt::format("{} is zabfsd, and leads: `zabfs backup`, on its machine, copies its tree",
                    address.text()));
  }
  if (mode == "standalone") {
    return Status::failed(fmt::format(
        "{} is a server without an ensemble: it gives its tree to nobody. Stop it, and take its "
        "data over: zabfs import-zookeeper DATADIR TO",
        address.text()));
  }
  if (answer.find("not currently serving requests") != std::string::npos) {
    reasons_.push_back(fmt::format(
        "{}: it does not serve, for it has no leader. Try again when the ensemble has a quorum",
        address.text()));
  } else {
    clients_.push_back(address);
  }
  return {};
}

void LiveSource::add_candidate(const PeerAddress& address, std::string name) {
  for (const Candidate& other : candidates_) {
    if (other.address.host == address.host && other.address.port == address.port) return;
  }
  candidates_.push_back({address, std::move(name)});
}

Status LiveSource::take_configuration(const PeerAddress& client, const std::string& text) {
  auto read = consensus::read_ensemble(text);
  if (const auto* error = std::get_if<consensus::EnsembleError>(&read)) {
    return Status::failed(
        fmt::format("/zookeeper/config: {}: {}", printable(error->key), printable(error->what)));
  }
  for (const auto& [id, member] : std::get<consensus::Ensemble>(read).members()) {
    if (member.observer) continue;
    // A server that listens everywhere says so of itself: it is the one that was asked, or a wrong
    // guess, which will be told.
    std::string host = consensus::host_to_listen_on(member.host);
    PeerAddress address{host.empty() ? client.host : host, member.quorum_port};
    add_candidate(address, fmt::format("server {} at {}", id.value, address.text()));
  }
  return {};
}

Status LiveSource::look_at_all(const std::vector<PeerAddress>& addresses) {
  for (const PeerAddress& address : addresses) {
    Status status = look_at(address);
    if (!status.ok()) return status;
  }
  for (const PeerAddress& client : clients_) {
    StatusOr<std::string> text = options_.configuration(client.text());
    Status status = text.ok() ? take_configuration(client, *text) : text.status();
    if (status.ok()) return {};
    reasons_.push_back(fmt::format(
        "{}: a port for clients, which does not say what the quorum ports are ({}). Give the "
        "quorum ports, such as HOST:2888",
        client.text(), status.why()));
  }
  return {};
}

// ---- the copy

// Says what there is to say, and takes what comes next. Gives its bytes.
StatusOr<size_t> LiveSource::exchange(PeerConnection& connection, LiveCopy& copy,
                                      PeerConnection::Limit limit) const {
  Status status = connection.send(copy.take_outgoing(), limit);
  if (!status.ok()) return status;
  StatusOr<std::string_view> piece = connection.receive(limit);
  if (!piece.ok()) return piece.status();
  if (piece->empty()) {
    return Status::failed(copy.has_leader()
                              ? "closed the connection"
                              : "closed the connection when it was asked. It may demand TLS "
                                "(sslQuorum=true: give --tls) or SASL (quorum.auth.*: that is not "
                                "possible here), or be zabfsd (`zabfs backup` copies its tree)");
  }
  if (!copy.has_leader() && options_.tls == nullptr && is_tls_record(*piece)) {
    return Status::failed(
        "speaks TLS: --tls FILE names a zoo.cfg with sslQuorum=true and the ssl.quorum.* stores");
  }
  status = copy.feed(*piece);
  if (!status.ok()) return status;
  return piece->size();
}

StatusOr<JavaData> LiveSource::copy_from(const Candidate& candidate, bool& has_leader) {
  auto connection = PeerConnection::open(candidate.address, kConnectLimit, options_.tls);
  if (!connection.ok()) return connection.status();
  LiveCopy copy(strangers_number());
  progress_.begin("copies the tree of " + candidate.name, 0);
  std::optional<tree::SessionId> own;  // once it is being closed
  for (uint64_t bytes = 0; !copy.is_done();) {
    StatusOr<size_t> taken = exchange(**connection, copy, options_.silence);
    has_leader = copy.has_leader();
    if (!taken.ok()) return taken.status();
    bytes += *taken;
    progress_.at(bytes);
    // The leader sends on all txns from here on.
    if (copy.has_snapshot() && !own) own = options_.end_session();
  }
  // There is a copy, whatever comes of this.
  const Clock::time_point end = Clock::now() + kOwnLimit;
  while (own && copy.has_session(*own) && Clock::now() < end) {
    if (!exchange(**connection, copy, kOwnLimit).ok()) break;
  }
  return copy.finish();
}

Status LiveSource::nobody_leads() const {
  std::string why =
      fmt::format("{}: no server there lets its tree be copied:\n", options_.addresses);
  for (const std::string& reason : reasons_) why += "  " + reason + "\n";
  return Status::failed(why + kRemedy);
}

StatusOr<JavaData> LiveSource::read() {
  StatusOr<std::vector<PeerAddress>> addresses = parse_addresses(options_.addresses);
  if (!addresses.ok()) return addresses.status();
  Status status = look_at_all(*addresses);
  if (!status.ok()) return status;
  for (const Candidate& candidate : candidates_) {
    bool has_leader = false;
    StatusOr<JavaData> data = copy_from(candidate, has_leader);
    progress_.clear();
    if (data.ok()) {
      data->notes.push_back(fmt::format("copied the tree of {}, which leads: {} znodes",
                                        candidate.name, data->tree->node_count()));
      return data;
    }
    if (has_leader) {
      return Status::failed(fmt::format("{}, which led: {}. Nothing was written; run this again",
                                        candidate.name, data.why()));
    }
    reasons_.push_back(fmt::format("{}: {}", candidate.name, data.why()));
  }
  return nobody_leads();
}

}  // namespace zabfs::migrate
