// ZooKeeper's keys that count here, the keys of TLS apart (tls_keys.cc).
#include <set>

#include "fsd/config/keys.h"
#include "fsd/config/take.h"
#include "tree/types.h"

namespace zabfs::fsd {

using namespace take;

namespace {

constexpr int64_t kMaxTickMs = 3'600'000;
constexpr const char* kNoSasl = "SASL between members is not supported; see sslQuorum";

void take_tick(ConfigReader& reader, const Property& line) {
  int32_t& tick_ms = reader.replica().zab.tick_ms;
  int64_t wanted = 0;
  reader.number(line, wanted, INT32_MIN, INT32_MAX);
  if (wanted == 0) return reader.fail(line, "it is 0");
  reader.number(line, tick_ms, 10, kMaxTickMs);
}

// -1: as without the key.
template <class Target>
Key::Take session_limit(Target target) {
  return [=](ConfigReader& reader, const Property& line) {
    if (line.value == "-1") {
      target(reader) = 0;
    } else {
      reader.number(line, target(reader), 1, INT32_MAX);
    }
  };
}

void take_super_digest(ConfigReader& reader, const Property& line) {
  if (line.value.find(':') == std::string::npos) {
    reader.fail(line, "it is not of the form user:digest");
  }
  reader.config().wire.super_digest = reader.replica().super_digest = line.value;
}

void take_skip_acl(ConfigReader& reader, const Property& line) {
  if (line.value != "yes" && line.value != "no") reader.warn(line, "only yes skips ACLs");
  reader.config().wire.skip_acl = reader.replica().prepare.skip_acl = line.value == "yes";
}

void take_local_sessions(ConfigReader& reader, const Property& line) {
  reader.boolean(line, reader.config().wire.local_sessions);
  reader.replica().prepare.local_sessions = reader.config().wire.local_sessions;
}

void take_words(ConfigReader& reader, const Property& line) {
  std::vector<std::string> words = comma_separated(line.value);
  reader.config().wire.commands = std::set<std::string>(words.begin(), words.end());
}

std::vector<Key> keys_of_a_server() {
  return {
      {"dataDir", "a path", path(ZABFS_AT(config().host.data_dir))},
      {"dataLogDir", "a path", path(ZABFS_AT(config().host.data_log_dir))},
      {"tickTime", "10 to 3600000 ms", take_tick},
      {"initLimit", "1 to 1000000 ticks", number(ZABFS_AT(replica().zab.init_limit), 1, 1'000'000)},
      {"syncLimit", "1 to 1000000 ticks", number(ZABFS_AT(replica().zab.sync_limit), 1, 1'000'000)},
      {"minSessionTimeout", "ms", session_limit(ZABFS_AT(replica().min_session_ms))},
      {"maxSessionTimeout", "ms", session_limit(ZABFS_AT(replica().max_session_ms))},
      {"snapCount", "2 or more", property_number(ZABFS_AT(replica().snapshot_txns), 2, INT32_MAX)},
      {"autopurge.snapRetainCount", "3 or more",
       number(ZABFS_AT(replica().snapshot_retain), 3, INT32_MAX), "",
       "whatever is older goes when a snapshot is made, without autopurge.purgeInterval"},
      {"extendedTypesEnabled", kBoolean,
       property_boolean(ZABFS_AT(replica().prepare.extended_types)), "", "TTL nodes"},
      {"enforceQuota", kBoolean, property_boolean(ZABFS_AT(replica().prepare.enforce_quota))},
      {"fsync.warningthresholdms", "ms",
       property_number(ZABFS_AT(replica().slow_sync_ms), 0, INT32_MAX)},
      {"znode.container.checkIntervalMs", "1 or more",
       property_number(ZABFS_AT(replica().reap_interval_ms), 1, INT32_MAX)},
      {"jute.maxbuffer", "1024 to 67108864, or 0x and hexadecimal digits",
       property_number(ZABFS_AT(config().jute_max_buffer), 1'024, tree::Limits::kMostBytes), "",
       "of requests, and with it of a znode's data, a txn and a file on the mount. Give all "
       "members the same: the leader's counts for txns"},
  };
}

std::vector<Key> keys_of_members() {
  return {
      // ConfigReader::take_of_members
      {"server.*", "host:port:port[:role][;[host:]port]", [](ConfigReader&, const Property&) {}, "",
       "several addresses with | between: only the first is used"},
      {"group.*", "numbers of servers, with : between", [](ConfigReader&, const Property&) {}},
      {"weight.*", "0 or more", [](ConfigReader&, const Property&) {}},
      {"dynamicConfigFile", "a path",
       [](ConfigReader& r, const Property& line) { r.take_dynamic_file(line); }},
      {"standaloneEnabled", kBoolean, boolean(ZABFS_AT(replica().standalone_enabled))},
      {"reconfigEnabled", kBoolean, boolean(ZABFS_AT(replica().reconfig_enabled))},
      {"quorumListenOnAllIPs", kBoolean, boolean(ZABFS_AT(config().host.listen_on_all))},
      {"peerType", "participant, observer",
       [](ConfigReader& r, const Property& line) { r.peer_type(line); }, "",
       "the lists of servers say what each is; a peerType that differs is a warning"},
      {"db.autocreate", kBoolean, property_boolean(ZABFS_AT(replica().zab.begins_by_itself))},
      {"cnxTimeout", "500 to 60000 ms",
       property_number(ZABFS_AT(config().host.connect_ms), 500, 60'000), "",
       "for an address of a member to answer; 2000 without it"},
      {"electionAlg", "3", only("3", "only 3, fast leader election, is supported"), "",
       "anything else: the start is refused"},
      {"oraclePath", "false", only("false", "an oracle in the place of a quorum is not supported"),
       "", "anything else: the start is refused"},
      {"multiAddress.enabled", kBoolean,
       [](ConfigReader& r, const Property& line) {
         bool ignored = false;
         r.boolean(line, ignored);
       },
       "", "see server.*"},
      {"quorum.auth.enableSasl", "false", only("false", kNoSasl), "", kTrueAlone},
      {"quorum.auth.learnerRequireSasl", "false", only("false", kNoSasl), "", kTrueAlone},
      {"quorum.auth.serverRequireSasl", "false", only("false", kNoSasl), "", kTrueAlone},
      {"portUnification", "false",
       only("false",
            "a port between members takes TLS or plain text, not both: set sslQuorum in "
            "all zoo.cfg, and start all servers anew"),
       "", kTrueAlone},
      {"sslQuorum", kBoolean, [](ConfigReader& r, const Property& line) { r.ssl_quorum(line); }},
  };
}

std::vector<Key> keys_of_the_client_ports() {
  return {
      {"clientPort", "0 to 65535", port(ZABFS_AT(config().wire.port)), "", "0: none"},
      {"clientPortAddress", "an address", host(ZABFS_AT(config().wire.address)), "",
       "of a name, all its addresses"},
      {"secureClientPort", "0 to 65535", port(ZABFS_AT(config().wire.secure_port)), "", "0: none"},
      {"secureClientPortAddress", "an address", host(ZABFS_AT(config().wire.secure_address)), "",
       "of a name, all its addresses"},
      {"client.portUnification", "false",
       only("false",
            "a port of clients takes TLS or plain text, not both: set clientPort and "
            "secureClientPort"),
       "", kTrueAlone},
      {"serverCnxnFactory", "a class",
       [](ConfigReader& r, const Property& line) { r.take_connection_factory(line); }, "",
       "Netty's or NIO's, and without effect; the start is refused for any other, and for NIO's "
       "beside secureClientPort, as in ZooKeeper"},
      {"clientPortListenBacklog", "-1 or more",
       number(ZABFS_AT(config().wire.backlog), -1, INT32_MAX)},
      {"maxClientCnxns", "0 or more",
       number(ZABFS_AT(config().wire.max_per_address), 0, INT32_MAX)},
      {"globalOutstandingLimit", "1 to 10000 requests",
       property_number(ZABFS_AT(config().wire.max_outstanding), 1, 10'000), "",
       "above it clients with more than their share are not read from; 10000 without it"},
      {"leaderServes", "yes, no",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.leader_serves = line.value != "no";
       },
       "", "a mount on the leader is served all the same"},
      {"maxCnxns", "0 or more",
       property_number(ZABFS_AT(config().wire.max_connections), 0, INT32_MAX)},
      {"4lw.commands.whitelist", "words, with commas between", take_words},
      {"readonlymode.enabled", kBoolean, property_boolean(ZABFS_AT(config().wire.read_only_mode))},
      {"localSessionsEnabled", kBoolean, take_local_sessions},
      {"localSessionsUpgradingEnabled", kBoolean, boolean(ZABFS_AT(config().wire.local_upgrading))},
  };
}

std::vector<Key> keys_of_authentication() {
  return {
      {"skipACL", "yes, no", take_skip_acl},
      {"DigestAuthenticationProvider.enabled", "true",
       only("true", "the digest scheme can't be closed; see enforce.auth.enabled"), "",
       "false: the start is refused"},
      {"DigestAuthenticationProvider.digestAlg", "SHA1",
       [](ConfigReader& r, const Property& line) {
         if (line.value != "SHA-1") r.only(line, "SHA1", "only SHA1 is supported");
       },
       "", "anything else: the start is refused"},
      {"DigestAuthenticationProvider.superDigest", "user:digest", take_super_digest},
      {"X509AuthenticationProvider.superUser", "a name",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.x509_super = r.replica().x509_super = line.value;
       }},
      {"authProvider.*", "a class",
       [](ConfigReader& r, const Property& line) { r.take_auth_provider(line); }, "",
       "ZooKeeper's for digest, ip, x509 and sasl; others are ignored with a warning"},
      {"audit.enable", kBoolean, property_boolean(ZABFS_AT(config().audit.enabled)), "",
       "changes by the mount have lines, too; see zabfs.audit.file"},
      {"enforce.auth.enabled", kBoolean,
       [](ConfigReader& r, const Property& line) { r.enforce_auth(line); }},
      {"enforce.auth.schemes", "schemes, with commas between",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.enforced_auth = comma_separated(line.value);
       }},
      {"sessionRequireClientSASLAuth", kBoolean,
       [](ConfigReader& r, const Property& line) { r.require_sasl(line); }, "",
       "the users are those of `zabfs.sasl.user.*`; without any the start is refused"},
      {"requireClientAuthScheme", "sasl",
       [](ConfigReader& r, const Property& line) { r.require_scheme(line); }, "",
       "ZooKeeper ignores it, and so lets everybody in; here it is sessionRequireClientSASLAuth"},
  };
}

std::vector<Key> keys_of_the_admin_port() {
  return {
      {"admin.enableServer", kBoolean, property_boolean(ZABFS_AT(config().admin.enabled))},
      {"admin.serverPort", "0 to 65535",
       [](ConfigReader& r, const Property& line) {
         uint16_t port = 0;
         r.property_number(line, port, 0, UINT16_MAX);
         r.config().admin.port = port;
       },
       "", "without it there is no admin port; 0: any"},
      {"admin.serverAddress", "an address", host(ZABFS_AT(config().admin.address))},
      {"admin.commandURL", "a path", text(ZABFS_AT(config().admin.path))},
      {"admin.portUnification", kBoolean, property_boolean(ZABFS_AT(config().admin.accepts_tls))},
      {"admin.forceHttps", kBoolean, property_boolean(ZABFS_AT(config().admin.only_tls))},
  };
}

std::vector<Key> keys_of_metrics() {
  return {
      {"metricsProvider.className",
       "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
       [](ConfigReader& r, const Property& line) { r.metrics_provider(line); }, "",
       "with another class nothing listens for Prometheus"},
      {"metricsProvider.httpPort", "0 to 65535",
       number(ZABFS_AT(config().metrics.port), 0, UINT16_MAX)},
      {"metricsProvider.httpHost", "an address", host(ZABFS_AT(config().metrics.address))},
  };
}

}  // namespace

std::vector<Key> zookeeper_keys() {
  std::vector<Key> keys;
  for (std::vector<Key> more :
       {keys_of_a_server(), keys_of_members(), keys_of_the_client_ports(), keys_of_authentication(),
        keys_of_the_admin_port(), keys_of_metrics()}) {
    keys.insert(keys.end(), more.begin(), more.end());
  }
  return keys;
}

}  // namespace zabfs::fsd
