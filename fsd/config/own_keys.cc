// The keys that are zabfs's alone.
#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>
#include <utility>

#include "fsd/config/keys.h"
#include "fsd/config/take.h"
#include "tree/posix.h"

namespace zabfs::fsd {

using namespace take;

namespace {

constexpr const char* kHistories = "off, or a time, a size or both: 12h, 500MiB, 7d,1GiB";
constexpr int64_t kMaxHistory = int64_t{1} << 50;  // bytes, or ms
constexpr std::pair<std::string_view, int64_t> kTimes[] = {
    {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
constexpr std::pair<std::string_view, int64_t> kSizes[] = {
    {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
constexpr int64_t kMaxMs = 3'600'000, kMaxDayMs = 86'400'000;

void take_memory(ConfigReader& reader, const Property& line) {
  size_t mib = 0;
  reader.own_number(line, mib, 16, 1 << 20);
  reader.config().wire.memory_bytes = mib << 20;
}

void take_log_level(ConfigReader& reader, const Property& line) {
  std::optional<spdlog::level::level_enum> level = log_level_named(line.value);
  if (!level) return reader.fail(line, fmt::format("{} is none of {}", line.value, kLogLevels));
  reader.config().log_level = *level;
}

// A number behind which one of the units stands; nullopt: it is none.
template <size_t kUnits>
std::optional<int64_t> with_unit(std::string_view text,
                                 const std::pair<std::string_view, int64_t> (&units)[kUnits]) {
  for (const auto& [unit, factor] : units) {
    if (!text.ends_with(unit)) continue;
    std::string_view digits = text.substr(0, text.size() - unit.size());
    int64_t count = 0;
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
    bool is_number = error == std::errc() && end == digits.data() + digits.size();
    if (is_number && count > 0 && count <= kMaxHistory / factor) return count * factor;
  }
  return std::nullopt;
}

// `7d,1GiB`: what is not named keeps its default.
void take_history(ConfigReader& reader, const Property& line) {
  consensus::KeptHistory::Options options;
  if (line.value == "off" || line.value == "0") {
    options.max_bytes = 0;
  } else {
    std::string_view rest = line.value;
    while (true) {
      std::string_view part = rest.substr(0, rest.find(','));
      std::optional<int64_t> age = with_unit(part, kTimes), bytes = with_unit(part, kSizes);
      if (!age && !bytes) {
        return reader.fail(line, fmt::format("{} is none of {}", line.value, kHistories));
      }
      if (age) options.max_age_ms = *age;
      if (bytes) options.max_bytes = static_cast<uint64_t>(*bytes);
      if (part.size() == rest.size()) break;
      rest.remove_prefix(part.size() + 1);
    }
  }
  reader.replica().history = options;
}

}  // namespace

std::vector<Key> own_keys() {
  return {
      {"zabfs.mount", "a path", path(ZABFS_AT(config().mount.point)), "none",
       "where to mount; without it nothing is mounted"},
      {"zabfs.uid", "0 to 4294967294", own_number(ZABFS_AT(config().mount.uid), 0, tree::kNoId - 1),
       "0", "owner of znodes that no mount made"},
      {"zabfs.gid", "0 to 4294967294", own_number(ZABFS_AT(config().mount.gid), 0, tree::kNoId - 1),
       "0", "group of znodes that no mount made"},
      {"zabfs.rootMode", "an octal mode", mode(ZABFS_AT(config().mount.root_mode)), "0755",
       "mode of a new tree's root. The first mount sets it, once; later use `chmod`. Without a "
       "mount everybody may do everything there, as in ZooKeeper"},
      {"zabfs.quorumGrace", "0 to 3600000 ms",
       own_number(ZABFS_AT(config().mount.quorum_grace_ms), 0, kMaxMs), "5000 ms",
       "when a node had no leader for so long, writes fail with EROFS; until then they wait"},
      {"zabfs.commitTimeout", "1 to 3600000 ms",
       own_number(ZABFS_AT(config().mount.commit_timeout_ms), 1, kMaxMs), "30000 ms",
       "a commit that has no answer by then fails with EIO: it may still be done"},
      {"zabfs.sessionTimeout", "100 to 3600000 ms",
       own_number(ZABFS_AT(config().mount.session_timeout_ms), 100, kMaxMs), "6000 ms",
       "when a node dies, its locks and ephemerals are free after about this time"},
      {"zabfs.commitAfter", "0 to 86400000 ms",
       own_number(ZABFS_AT(config().mount.commit_after_ms), 0, kMaxDayMs), "1000 ms",
       "what a program appends, or writes to a file that it made, is committed within so long "
       "while "
       "it has the file open; 0: only when it closes the file or calls fsync"},
      {"zabfs.cacheAfter", "0 to 86400000 ms",
       own_number(ZABFS_AT(config().mount.cache_after_ms), 0, kMaxDayMs), "1000 ms",
       "files that did not change for so long are read through the kernel's page cache; 0: never"},
      {"zabfs.inotify", kBoolean, boolean(ZABFS_AT(config().mount.inotify)), "true",
       "tell inotify what other nodes do"},
      {"zabfs.protectMountPoint", kBoolean, boolean(ZABFS_AT(config().mount.protects_point)),
       "true",
       "make the directory under the mount immutable (mode 0000 where there is no such flag), so "
       "that nothing is written to it while zabfsd does not run. Before you remove it: `zabfsd "
       "--unprotect DIR`"},
      {"zabfs.history", kHistories, take_history, "7d,1GiB",
       "how long old versions of files can be read: what this node needs no more of its log and "
       "snapshots stays on its disks until it is older than the time, or more than the size"},
      {"zabfs.clientSocket", "a path", text(ZABFS_AT(config().wire.unix_socket)), "none",
       "path of a Unix-domain socket for clients. A client's user is its identity in ACLs "
       "(`uid:1000`) and owns files as on the mount; its groups count; root is the superuser"},
      {"zabfs.clientThreads", "1 to 64", own_number(ZABFS_AT(config().wire.threads), 1, 64), "1",
       "threads that receive from ZooKeeper clients"},
      {"zabfs.clientMemory", "16 to 1048576 MiB", take_memory, "512 MiB",
       "what ZooKeeper clients may make a node hold for them; a number of MiB"},
      {"zabfs.publicPasswords", kBoolean, boolean(ZABFS_AT(replica().public_passwords)), "false",
       "give clients' sessions passwords that Apache ZooKeeper's servers know, too. Set it on all "
       "nodes, and restart each, before such servers join: sessions go on at them then. Whoever "
       "knows the id of a session can take it over"},
      {"zabfs.sasl.user.*", "a password",
       [](ConfigReader& r, const Property& line) {
         r.config().wire.sasl_users[end_of(line, "zabfs.sasl.user.")] = line.value;
       },
       "none", "password of the SASL DIGEST-MD5 user of that name"},
      {"zabfs.log.level", kLogLevels, take_log_level, "info",
       "what the log is told. Until the next start `zabfs log-level` sets another one. At debug "
       "each of many like lines is told, too"},
      {"zabfs.audit.file", "a path", path(ZABFS_AT(config().audit.file)), "none",
       "with audit.enable=true: the file that audit lines are appended to; without it they are "
       "among the lines of the log. SIGHUP opens it anew"},
      {"zabfs.coreDumps", kBoolean, boolean(ZABFS_AT(config().core_dumps)), "false",
       "whether the daemon may leave a core dump, which holds passwords and data. A debugger of a "
       "user other than root needs it too"},
  };
}

}  // namespace zabfs::fsd
