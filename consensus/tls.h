// TLS as a transformation of bytes: what arrives becomes plain text, what is said becomes records.
// The sockets stay whose they are.
//
// Keys and certificates are PEM or PKCS#12 files (zoo.cfg: ssl.keyStore.location,
// ssl.trustStore.location and the same under ssl.quorum); the first bytes say which. They are read
// again when they change, by the next connection; a file that can't be used then leaves the last
// good one in place, with a line in the log.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "consensus/mutex.h"
#include "tree/status.h"

struct ssl_ctx_st;
struct ssl_st;
struct bio_st;

namespace zabfs::consensus {

// As OpenSSL takes them. Empty: its own choice.
struct TlsCiphers {
  std::string of_1_2, of_1_3;
};
// The cipher suites of these names, which are those of IANA and Java. Fails if one is not known.
StatusOr<TlsCiphers> find_ciphers(const std::vector<std::string>& names);

struct TlsConfig {
  enum class ClientAuth { kNone, kWant, kNeed };
  std::string key_store;       // the private key, and the certificate with its chain
  std::string trust_store;     // whom the peers' certificates must come from
  std::string password;        // of the key store
  std::string trust_password;  // of the trust store, if that is PKCS#12
  ClientAuth client_auth = ClientAuth::kNeed;
  bool verify_host = true;             // of a server that is dialled
  bool is_1_2 = true, is_1_3 = true;   // the versions that are spoken; one is
  bool has_enabled_protocols = false;  // they come from ssl.enabledProtocols
  TlsCiphers ciphers;
};

// Thread-safe.
class TlsContext {
 public:
  using Logger = std::function<void(const std::string&)>;  // of warnings
  TlsContext(TlsConfig config, Logger log) : config_(std::move(config)), log_(std::move(log)) {}

  // Fails if a file can't be used, and says which and why.
  Status load() EXCLUDES(mutex_);
  std::shared_ptr<ssl_ctx_st> current() EXCLUDES(mutex_);
  const TlsConfig& config() const { return config_; }

 private:
  std::string stamp() const;
  StatusOr<std::shared_ptr<ssl_ctx_st>> make() const;
  // Reads the files again if they have changed. What the log is to be told of that.
  std::string look_again() REQUIRES(mutex_);

  const TlsConfig config_;
  const Logger log_;
  Mutex mutex_;  // the files are read under it, so that one thread does
  std::shared_ptr<ssl_ctx_st> context_ GUARDED_BY(mutex_);
  std::string stamp_ GUARDED_BY(mutex_);  // of the files as they were read
  std::chrono::steady_clock::time_point looked_ GUARDED_BY(mutex_);
};

// One connection. Not thread-safe.
class TlsSession {
 public:
  // A server, or with `host` the client of that one.
  explicit TlsSession(TlsContext& context, const std::string* host = nullptr);
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;
  ~TlsSession();

  // Takes what the peer sent, and appends what it says to `plain`. False: it is over, see `why`.
  bool receive(std::string_view bytes, std::string& plain);
  // Bytes that are sent before the handshake is done wait for it.
  void say(std::string_view plain);
  // Appends what there is for the peer.
  void take_outgoing(std::string& bytes);

  bool is_established() const;
  // The peer's certificate's subject (RFC 2253), if it showed one; it was verified then.
  std::optional<std::string> peer_subject() const;
  const std::string& why() const { return why_; }

 private:
  void flush();
  bool fail();

  std::shared_ptr<ssl_ctx_st> context_;
  std::unique_ptr<ssl_st, void (*)(ssl_st*)> ssl_;
  bio_st* in_;   // owned by ssl_
  bio_st* out_;  // owned by ssl_
  std::string waiting_;
  std::string why_;
};

}  // namespace zabfs::consensus
