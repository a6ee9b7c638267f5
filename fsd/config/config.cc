#include "fsd/config/config.h"

#include <fmt/format.h>

#include "consensus/data_directory.h"
#include "fsd/config/keys.h"
#include "fsd/config/reader.h"

namespace zabfs::fsd {

using consensus::Member;
using tree::ServerId;

StatusOr<Config> load_config(const std::string& file) {
  Config config;
  if (Status status = ConfigReader(file, config).read(); !status.ok()) return status;
  return config;
}

std::string describe_keys() {
  std::string text = "| key | values | default | |\n|---|---|---|---|\n";
  for (const Key& key : config_keys()) {
    if (!key.is_own()) continue;
    text += fmt::format("| `{}` | {} | {} | {} |\n", key.name, key.value, key.fallback, key.help);
  }
  text += "\n| key | values | |\n|---|---|---|\n";
  for (const Key& key : config_keys()) {
    if (key.is_own()) continue;
    text += fmt::format("| `{}` | {} | {} |\n", key.name,
                        key.has_effect() ? key.value : "without effect", key.help);
  }
  return text;
}

StatusOr<std::vector<std::string>> check_config(const std::string& file) {
  StatusOr<Config> config = load_config(file);
  if (!config.ok()) return config.status();
  Status taken_over = consensus::DataDirectory::check_taken_over(
      config->host.data_dir, config->host.data_log_dir, config->host.replica.zab.me);
  if (!taken_over.ok()) return taken_over;
  auto nobody = [](const std::string&) {};
  if (config->wire.secure_port) {
    Status status = consensus::TlsContext(config->wire.tls, nobody).load();
    if (!status.ok()) return status;
  }
  if (config->host.quorum_tls) {
    Status status = consensus::TlsContext(*config->host.quorum_tls, nobody).load();
    if (!status.ok()) return status;
  }
  std::vector<std::string> lines;
  for (const std::string& line : config->warnings) lines.push_back("warning: " + line);
  for (const std::string& line : config->ignored) lines.push_back("ignored: " + line);
  for (const std::string& line : settings_of(*config)) lines.push_back("runs with: " + line);
  return lines;
}

std::vector<std::string> settings_of(const Config& config) {
  const consensus::ReplicaConfig& replica = config.host.replica;
  const consensus::ZabConfig& zab = replica.zab;
  std::string logs =
      config.host.data_log_dir.empty() ? config.host.data_dir : config.host.data_log_dir;
  auto or_ticks = [&zab](int32_t ms, int32_t ticks) { return ms == 0 ? ticks * zab.tick_ms : ms; };
  std::vector<std::string> lines{
      fmt::format("clientPort={}", config.wire.port.value_or(0)),
      fmt::format("secureClientPort={}",
                  config.wire.secure_port ? int{*config.wire.secure_port} : -1),
      fmt::format("dataDir={}", config.host.data_dir),
      fmt::format("dataLogDir={}", logs),
      fmt::format("tickTime={}", zab.tick_ms),
      fmt::format("maxClientCnxns={}", config.wire.max_per_address),
      fmt::format("minSessionTimeout={}", or_ticks(replica.min_session_ms, 2)),
      fmt::format("maxSessionTimeout={}", or_ticks(replica.max_session_ms, 20)),
      fmt::format("clientPortListenBacklog={}", config.wire.backlog),
      fmt::format("serverId={}", zab.me.value)};
  const Member* self = zab.ensemble.find(zab.me);
  if (zab.ensemble.members().size() > 1 && self != nullptr) {
    lines.push_back(fmt::format("initLimit={}", zab.init_limit));
    lines.push_back(fmt::format("syncLimit={}", zab.sync_limit));
    lines.push_back("electionAlg=3");
    lines.push_back(fmt::format("electionPort={}", self->election_port));
    lines.push_back(fmt::format("quorumPort={}", self->quorum_port));
    lines.push_back(fmt::format("peerType={}", self->observer ? 1 : 0));
  }
  return lines;
}

Config standalone_config(const std::string& data_dir, const std::string& mount_point) {
  Config config;
  config.host.data_dir = data_dir;
  config.mount.point = mount_point;
  config.host.replica.zab.me = ServerId{1};
  std::map<ServerId, Member> members;
  members[ServerId{1}] = Member{"localhost", 0, 0, false, ""};
  config.host.replica.zab.ensemble = consensus::Ensemble(members);
  return config;
}

}  // namespace zabfs::fsd
