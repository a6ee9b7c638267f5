#include "fsd/config/keys.h"

#include <set>
#include <string_view>

#include "fsd/config/reader.h"
#include "tree/posix.h"

namespace zabfs::fsd {

namespace {

using Take = Key::Take;

Take nothing() {
  return [](ConfigReader&, const Property&) {};
}

template <class Target>
Take number(Target target, int64_t low, int64_t high) {
  return [=](ConfigReader& reader, const Property& line) {
    reader.number(line, target(reader), low, high);
  };
}
template <class Target>
Take boolean(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.boolean(line, target(reader)); };
}
template <class Target>
Take mode(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.mode(line, target(reader)); };
}
template <class Target>
Take text(Target target) {
  return [=](ConfigReader& reader, const Property& line) { target(reader) = line.value; };
}
template <class Target>
Take path(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.path(line, target(reader)); };
}

// Keys that change what a quorum is, or who is elected and by whom. What of them is not done here
// is refused: beside servers that do it, to go on without it splits the brain.
Take refused_unless(const char* value, const char* why) {
  return [=](ConfigReader& reader, const Property& line) {
    if (line.value != value) reader.fail(line, why);
  };
}

// The end of a key that stands for many.
std::string end_of(const Property& line, const char* begin) {
  return line.key.substr(std::string_view(begin).size());
}

void take_super_digest(ConfigReader& reader, const Property& line) {
  if (line.value.find(':') == std::string::npos) {
    reader.fail(line, "it is not of the form user:digest");
  }
  reader.config().wire.super_digest = reader.replica().super_digest = line.value;
}

void take_memory(ConfigReader& reader, const Property& line) {
  size_t mib = 0;
  reader.number(line, mib, 16, 1 << 20);
  reader.config().wire.memory_bytes = mib << 20;
}

constexpr int64_t kMaxMs = 3'600'000, kMaxDayMs = 86'400'000;
constexpr const char* kBoolean = "true, false";
constexpr const char* kNoSasl = "SASL between members is not supported; see sslQuorum";

std::vector<Key> make_keys() {
#define ZABFS_AT(member) \
  [](ConfigReader & r) -> auto& { return r.member; }
  return {
      // What every node of ZooKeeper's has.
      {"dataDir", "a path", path(ZABFS_AT(config().host.data_dir))},
      {"dataLogDir", "a path", path(ZABFS_AT(config().host.data_log_dir))},
      {"tickTime", "10 to 3600000 ms", number(ZABFS_AT(replica().zab.tick_ms), 10, kMaxMs)},
      {"initLimit", "1 to 1000000 ticks", number(ZABFS_AT(replica().zab.init_limit), 1, 1'000'000)},
      {"syncLimit", "1 to 1000000 ticks", number(ZABFS_AT(replica().zab.sync_limit), 1, 1'000'000)},
      {"minSessionTimeout", "ms", number(ZABFS_AT(replica().min_session_ms), 1, INT32_MAX)},
      {"maxSessionTimeout", "ms", number(ZABFS_AT(replica().max_session_ms), 1, INT32_MAX)},
      {"snapCount", "2 or more", number(ZABFS_AT(replica().snapshot_txns), 2, INT32_MAX)},
      {"autopurge.snapRetainCount", "3 to 1000",
       number(ZABFS_AT(replica().snapshot_retain), 3, 1'000)},
      {"extendedTypesEnabled", kBoolean, boolean(ZABFS_AT(replica().prepare.extended_types))},
      {"enforceQuota", kBoolean, boolean(ZABFS_AT(replica().prepare.enforce_quota))},
      {"znode.container.checkIntervalMs", "1 or more",
       number(ZABFS_AT(replica().reap_interval_ms), 1, INT32_MAX)},

      // Members.
      {"server.*", "host:port:port[:role][;[host:]port]",
       nothing()},  // ConfigReader::take_of_members
      {"group.*", "numbers of servers, with : between", nothing()},
      {"weight.*", "0 or more", nothing()},
      {"dynamicConfigFile", "a path",
       [](ConfigReader& r, const Property& line) { r.take_dynamic_file(line); }},
      {"standaloneEnabled", kBoolean, boolean(ZABFS_AT(replica().standalone_enabled))},
      {"reconfigEnabled", kBoolean, boolean(ZABFS_AT(replica().reconfig_enabled))},
      {"quorumListenOnAllIPs", kBoolean, boolean(ZABFS_AT(config().host.listen_on_all))},
      {"sslQuorum", kBoolean, [](ConfigReader& r, const Property& line) { r.ssl_quorum(line); }},
      {"ssl.quorum.*", "as ssl.*",
       [](ConfigReader& r, const Property& line) {
         r.quorum_tls(line, end_of(line, "ssl.quorum."));
       }},
      {"peerType", "participant, observer",
       [](ConfigReader& r, const Property& line) { r.peer_type(line); }},
      {"db.autocreate", kBoolean, boolean(ZABFS_AT(replica().zab.begins_by_itself))},
      {"electionAlg", "3", refused_unless("3", "only 3, fast leader election, is supported")},
      {"oraclePath", "false",
       refused_unless("false", "an oracle in the place of a quorum is not supported")},
      {"multiAddress.enabled", "false",
       refused_unless("false", "several addresses a server are not supported")},
      {"quorum.auth.enableSasl", "false", refused_unless("false", kNoSasl)},
      {"quorum.auth.learnerRequireSasl", "false", refused_unless("false", kNoSasl)},
      {"quorum.auth.serverRequireSasl", "false", refused_unless("false", kNoSasl)},

      // The ports of clients.
      {"clientPort", "0 to 65535",
       [](ConfigReader& r, const Property& line) {
         r.number(line, r.config().wire.port.emplace(), 0, UINT16_MAX);
       }},
      {"clientPortAddress", "an address", text(ZABFS_AT(config().wire.address))},
      {"secureClientPort", "0 to 65535",
       [](ConfigReader& r, const Property& line) {
         r.number(line, r.config().wire.secure_port.emplace(), 0, UINT16_MAX);
       }},
      {"secureClientPortAddress", "an address", text(ZABFS_AT(config().wire.secure_address))},
      {"clientPortListenBacklog", "-1 or more",
       number(ZABFS_AT(config().wire.backlog), -1, INT32_MAX)},
      {"maxClientCnxns", "0 or more",
       number(ZABFS_AT(config().wire.max_per_address), 0, INT32_MAX)},
      {"maxCnxns", "0 or more", number(ZABFS_AT(config().wire.max_connections), 0, INT32_MAX)},
      {"jute.maxbuffer", "1024 to 1048575",
       number(ZABFS_AT(config().wire.max_frame_bytes), 1'024, tree::kJuteMaxBuffer)},
      {"4lw.commands.whitelist", "words, with commas between",
       [](ConfigReader& r, const Property& line) {
         std::vector<std::string> words = comma_separated(line.value);
         r.config().wire.commands = std::set<std::string>(words.begin(), words.end());
       }},
      {"readonlymode.enabled", kBoolean, boolean(ZABFS_AT(config().wire.read_only_mode))},
      {"localSessionsEnabled", kBoolean,
       [](ConfigReader& r, const Property& line) {
         r.boolean(line, r.config().wire.local_sessions);
         r.replica().prepare.local_sessions = r.config().wire.local_sessions;
       }},
      {"localSessionsUpgradingEnabled", kBoolean, boolean(ZABFS_AT(config().wire.local_upgrading))},
      {"skipACL", "yes, no",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.skip_acl = r.replica().prepare.skip_acl = line.value == "yes";
       }},
      {"DigestAuthenticationProvider.superDigest", "user:digest", take_super_digest},
      {"X509AuthenticationProvider.superUser", "a name",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.x509_super = r.replica().x509_super = line.value;
       }},
      {"authProvider.*", "a class",
       [](ConfigReader& r, const Property& line) { r.take_auth_provider(line); }},
      {"enforce.auth.enabled", kBoolean,
       [](ConfigReader& r, const Property& line) { r.enforce_auth(line); }},
      {"enforce.auth.schemes", "schemes, with commas between",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.enforced_auth = comma_separated(line.value);
       }},
      {"ssl.*", "keyStore.location, trustStore.location, clientAuth and others",
       [](ConfigReader& r, const Property& line) {
         r.take_tls(line, end_of(line, "ssl."), r.config().wire.tls);
       }},

      // The admin port.
      {"admin.enableServer", kBoolean, boolean(ZABFS_AT(config().admin.enabled))},
      {"admin.serverPort", "0 to 65535",
       [](ConfigReader& r, const Property& line) {
         r.number(line, r.config().admin.port.emplace(), 0, UINT16_MAX);
       }},
      {"admin.serverAddress", "an address", text(ZABFS_AT(config().admin.address))},
      {"admin.commandURL", "a path", text(ZABFS_AT(config().admin.path))},
      {"admin.portUnification", kBoolean, boolean(ZABFS_AT(config().admin.accepts_tls))},
      {"admin.forceHttps", kBoolean, boolean(ZABFS_AT(config().admin.only_tls))},
      {"admin.*", "", nothing()},

      // The port of metrics.
      {"metricsProvider.className",
       "org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider",
       [](ConfigReader& r, const Property& line) { r.metrics_provider(line); }},
      {"metricsProvider.httpPort", "0 to 65535",
       number(ZABFS_AT(config().metrics.port), 0, UINT16_MAX)},
      {"metricsProvider.httpHost", "an address", text(ZABFS_AT(config().metrics.address))},
      {"metricsProvider.*", "", nothing()},

      // Known, and not needed here.
      {"autopurge.purgeInterval", "", nothing()},
      {"connectToLearnerMasterLimit", "", nothing()},
      {"forceSync", "", nothing()},
      {"preAllocSize", "", nothing()},
      {"syncEnabled", "", nothing()},
      {"znode.container.maxPerMinute", "", nothing()},

      // Our own.
      {"zabfs.mount", "a path", path(ZABFS_AT(config().mount.point)), "none",
       "where to mount; without it nothing is mounted"},
      {"zabfs.uid", "0 to 4294967294", number(ZABFS_AT(config().mount.uid), 0, tree::kNoId - 1),
       "0", "owner of znodes that no mount made"},
      {"zabfs.gid", "0 to 4294967294", number(ZABFS_AT(config().mount.gid), 0, tree::kNoId - 1),
       "0", "group of znodes that no mount made"},
      {"zabfs.rootMode", "an octal mode", mode(ZABFS_AT(config().mount.root_mode)), "0755",
       "mode of a new tree's root. The first mount sets it, once; later use `chmod`. Without a "
       "mount everybody may do everything there, as in ZooKeeper"},
      {"zabfs.quorumGrace", "0 to 3600000 ms",
       number(ZABFS_AT(config().mount.quorum_grace_ms), 0, kMaxMs), "5000 ms",
       "when a node had no leader for so long, writes fail with EROFS; until then they wait"},
      {"zabfs.commitTimeout", "1 to 3600000 ms",
       number(ZABFS_AT(config().mount.commit_timeout_ms), 1, kMaxMs), "30000 ms",
       "a commit that has no answer by then fails with EIO: it may still be done"},
      {"zabfs.sessionTimeout", "100 to 3600000 ms",
       number(ZABFS_AT(config().mount.session_timeout_ms), 100, kMaxMs), "6000 ms",
       "when a node dies, its locks and ephemerals are free after about this time"},
      {"zabfs.commitAfter", "0 to 86400000 ms",
       number(ZABFS_AT(config().mount.commit_after_ms), 0, kMaxDayMs), "1000 ms",
       "what a program appends, or writes to a file that it made, is committed within so long "
       "while "
       "it has the file open; 0: only when it closes the file or calls fsync"},
      {"zabfs.cacheAfter", "0 to 86400000 ms",
       number(ZABFS_AT(config().mount.cache_after_ms), 0, kMaxDayMs), "1000 ms",
       "files that did not change for so long are read through the kernel's page cache; 0: never"},
      {"zabfs.inotify", kBoolean, boolean(ZABFS_AT(config().mount.inotify)), "true",
       "tell inotify what other nodes do"},
      {"zabfs.protectMountPoint", kBoolean, boolean(ZABFS_AT(config().mount.protects_point)),
       "true",
       "make the directory under the mount immutable (mode 0000 where there is no such flag), so "
       "that nothing is written to it while zabfsd does not run. Before you remove it: `zabfsd "
       "--unprotect DIR`"},
      {"zabfs.clientSocket", "a path", text(ZABFS_AT(config().wire.unix_socket)), "none",
       "path of a Unix-domain socket for clients. A client's user is its identity in ACLs "
       "(`uid:1000`) and owns files as on the mount; its groups count; root is the superuser"},
      {"zabfs.clientThreads", "1 to 64", number(ZABFS_AT(config().wire.threads), 1, 64), "1",
       "threads that receive from ZooKeeper clients"},
      {"zabfs.clientMemory", "16 to 1048576 MiB", take_memory, "512 MiB",
       "what ZooKeeper clients may make a node hold for them; a number of MiB"},
      {"zabfs.sasl.user.*", "a password",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.sasl_users[end_of(line, "zabfs.sasl.user.")] = line.value;
       },
       "none", "password of the SASL DIGEST-MD5 user of that name"},
      {"zabfs.coreDumps", kBoolean, boolean(ZABFS_AT(config().core_dumps)), "false",
       "whether the daemon may leave a core dump, which holds passwords and data. A debugger of a "
       "user other than root needs it too"},
  };
#undef ZABFS_AT
}

}  // namespace

const std::vector<Key>& config_keys() {
  static const std::vector<Key> kKeys = make_keys();
  return kKeys;
}

const Key* find_key(const std::string& name) {
  const Key* found = nullptr;
  for (const Key& key : config_keys()) {
    bool is_begin = key.name.ends_with('*');
    bool fits =
        is_begin ? name.starts_with(key.name.substr(0, key.name.size() - 1)) : name == key.name;
    if (fits && (found == nullptr || !is_begin || key.name.size() > found->name.size())) {
      found = &key;
    }
    if (fits && !is_begin) break;
  }
  return found;
}

}  // namespace zabfs::fsd
