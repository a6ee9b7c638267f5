#include "fsd/config/config.h"

#include <fmt/format.h>

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
    if (key.help.empty()) continue;
    text += fmt::format("| `{}` | {} | {} | {} |\n", key.name, key.value, key.fallback, key.help);
  }
  text +=
      "\nKeys of ZooKeeper's, with its meaning and its defaults:\n\n| key | values |\n|---|---|\n";
  for (const Key& key : config_keys()) {
    bool is_known = key.help.empty() && !key.value.empty();
    if (is_known) text += fmt::format("| `{}` | {} |\n", key.name, key.value);
  }
  text += "\nKnown, and without effect here:";
  for (const Key& key : config_keys()) {
    if (key.value.empty()) text += fmt::format(" `{}`", key.name);
  }
  return text + "\n";
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
