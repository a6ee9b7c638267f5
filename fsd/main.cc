// zabfsd: the daemon. Exit codes: 0 stopped by a signal, 1 failed, 2 the configuration is wrong.
#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "consensus/host.h"
#include "fsd/admin/metrics_server.h"
#include "fsd/admin/server.h"
#include "fsd/audit/audit_log.h"
#include "fsd/audit/ephemerals.h"
#include "fsd/config/config.h"
#include "fsd/facts/node.h"
#include "fsd/fuse/connection_guard.h"
#include "fsd/fuse/mount.h"
#include "fsd/fuse/mount_point.h"
#include "fsd/fuse/replay_process.h"
#include "fsd/log_line.h"
#include "fsd/manual/pages.h"
#include "fsd/systemd.h"
#include "fsd/wire/server.h"

namespace zabfs::fsd {
namespace {

constexpr int kFailed = 1;
constexpr int kBadConfiguration = 2;

int fail(const std::string& what, int code) {
  spdlog::error(what);
  return code;
}

LogStyle log_style() {
  bool is_journals = is_journal(STDERR_FILENO, std::getenv("JOURNAL_STREAM"));
  return is_journals ? LogStyle::kJournal : LogStyle::kTimed;
}

// A descriptor a client: the soft limit is for programs that use select.
void raise_file_limit() {
  rlimit limit = {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The signal that ends the daemon. Meanwhile systemd is told how it is.
int wait_for_end(const sigset_t& signals, Systemd& systemd, audit::AuditLog* audit) {
  int signal = 0;
  while (signal <= 0 || signal == SIGHUP) {
    if (signal == SIGHUP && audit != nullptr) audit->reopen();
    if (!systemd.is_there()) {
      ::sigwait(&signals, &signal);
      continue;
    }
    systemd.look();
    std::chrono::milliseconds wait = systemd.look_every();
    timespec time = {wait.count() / 1'000, (wait.count() % 1'000) * 1'000'000};
    signal = ::sigtimedwait(&signals, nullptr, &time);  // -1: none yet
  }
  return signal;
}

int run(Config& config) {
  raise_file_limit();
  if (!config.core_dumps) ::prctl(PR_SET_DUMPABLE, 0);
  set_log_level(config.log_level);
  for (const std::string& warning : config.warnings) spdlog::warn(warning);
  for (const std::string& line : config.ignored) spdlog::info(line);
  bool is_configuration = false;
  if (!config.mount.point.empty()) {
    Status usable = MountPoint::check(config.mount.point, is_configuration);
    if (!usable.ok()) return fail(usable.why(), is_configuration ? kBadConfiguration : kFailed);
  }
  // Signals are taken by this thread alone; the others never see them.
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);

  consensus::Host host(config.host);
  // The reason is the last line, behind what the host has to tell.
  auto failed = [&host](const std::string& why, int code) {
    host.stop();
    return fail(why, code);
  };
  consensus::HostError problem = host.open();
  if (!problem.what.empty()) {
    return failed(problem.what, problem.is_configuration ? kBadConfiguration : kFailed);
  }
  Registry registry;
  registry.add([&host](Metrics& into) { add_node_metrics(host.replica(), into); });
  registry.add(add_process_metrics);
  const std::string& log_dir =
      config.host.data_log_dir.empty() ? config.host.data_dir : config.host.data_log_dir;
  registry.add_of_cluster([log_dir](Metrics& into) { add_disk_metrics(log_dir, into); });
  std::unique_ptr<audit::AuditLog> audit;
  std::unique_ptr<audit::Ephemerals> ephemerals;
  if (config.audit.enabled) {
    audit = std::make_unique<audit::AuditLog>(host, config.audit, log_style());
    if (Status status = audit->open(); !status.ok()) return failed(status.why(), kFailed);
    ephemerals = std::make_unique<audit::Ephemerals>(*audit);
    host.replica().add_listener(ephemerals.get());
  }
  std::unique_ptr<wire::WireServer> clients;
  if (config.wire.port || config.wire.secure_port || !config.wire.unix_socket.empty()) {
    config.wire.settings = settings_of(config);
    config.wire.data_dir = config.host.data_dir;
    config.wire.data_log_dir =
        config.host.data_log_dir.empty() ? config.host.data_dir : config.host.data_log_dir;
    clients = std::make_unique<wire::WireServer>(host, config.wire, registry, audit.get());
    if (Status status = clients->listen(); !status.ok()) return failed(status.why(), kFailed);
  }
  std::unique_ptr<admin::AdminServer> administration;
  if (config.admin.enabled && config.admin.port) {
    administration = std::make_unique<admin::AdminServer>(host, clients.get(), config.admin);
    if (Status status = administration->listen(); !status.ok()) {
      spdlog::warn(status.why());  // as Java: the server goes on without it
      administration.reset();
    }
  }
  std::unique_ptr<admin::MetricsServer> metrics;
  if (config.metrics.enabled) {
    metrics = std::make_unique<admin::MetricsServer>(host, registry, config.metrics);
    if (Status status = metrics->listen(); !status.ok()) return failed(status.why(), kFailed);
  }
  std::unique_ptr<Mount> mount;
  if (!config.mount.point.empty()) {
    mount = std::make_unique<Mount>(host, config.mount, config.host.data_dir, log_dir, registry,
                                    audit.get());
    Status mounted = mount->mount();
    if (!mounted.ok()) return failed(mounted.why(), kFailed);
  }
  host.start();
  if (mount) mount->attach();  // before any client: it says whose a new tree's root is
  if (clients) {
    clients->start();
    spdlog::info("serves ZooKeeper clients on{}", clients->doors());
  }
  if (administration) administration->start();
  if (metrics) metrics->start();
  if (mount) {
    mount->start([] { ::kill(::getpid(), SIGUSR1); });
    spdlog::info("mounted at {}", config.mount.point);
  }
  if (audit) audit->write_own("serverStart", audit::Result::kSuccess);
  Systemd systemd(host);
  int signal = wait_for_end(signals, systemd, audit.get());
  spdlog::info(signal == SIGUSR1 ? "unmounted from outside; stopping" : "stopping");
  systemd.stopping();
  if (audit) audit->write_own("serverStop", audit::Result::kInvoked);
  if (mount) mount->stop();
  if (metrics) metrics->stop();
  if (administration) administration->stop();
  if (clients) clients->stop();
  host.stop();
  spdlog::info("stopped");
  return 0;
}

// As `0x500000012`; what is no zxid equals none.
tree::Zxid zxid_of(std::string_view text) {
  int64_t value = -1;
  if (text.starts_with("0x")) {
    std::from_chars(text.data() + 2, text.data() + text.size(), value, 16);
  }
  return tree::Zxid{value};
}

int start(int argc, char** argv) {
  CLI::App app{"zabfsd: one member of a replicated ZooKeeper tree that you can mount"};
  std::string config_file, data_dir, mount_point;
  uint16_t client_port = 0;
  app.add_option("config", config_file, "zoo.cfg of an ensemble member");
  app.add_option("--data-dir", data_dir, "standalone: where the data is kept");
  app.add_option("--mount", mount_point, "where to mount; instead of zabfs.mount");
  auto* client_option = app.add_option("--client-port", client_port,
                                       "standalone: serve ZooKeeper clients on this port");
  bool makes_mount_point = false;
  app.add_flag("--make-mount-point", makes_mount_point,
               "make the directory to mount on if it is not there; its parent must be");
  bool readdress = false;
  app.add_flag(
      "--readdress", readdress,
      "all servers have moved: the addresses of zoo.cfg count, not the committed ones. Stop "
      "all, give all the same zoo.cfg (same servers, other addresses), start all with this "
      "once; the first leader commits it");
  std::string last_zxid;
  app.add_flag(
      "--force-new-ensemble{ask}", last_zxid,
      "a majority of the servers is lost for good: this one becomes an ensemble of its own "
      "with all that it has. Without =ZXID it says what may be lost, and what to run; it "
      "changes nothing then");
  std::string unprotected;
  app.add_option(
      "--unprotect", unprotected,
      "does nothing but let the directory under a mount be written to and removed again");
  bool lists_keys = false;
  app.add_flag("--keys", lists_keys, "the keys of zoo.cfg, their values and what they do");
  std::string checked;
  app.add_option("--check-config", checked,
                 "reads that zoo.cfg, says what is wrong with it or what zabfsd would run with, "
                 "and starts nothing");
  bool shows_manual = false;
  app.add_flag("--man", shows_manual, "the manual page zabfsd(8), for man -l");
  app.set_version_flag("--version", "zabfsd " ZABFS_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    int code = app.exit(error);
    return code == 0 ? 0 : kBadConfiguration;
  }
  if (shows_manual) {
    fmt::print("{}", manual::man_text(manual::daemon_page(app)));
    return 0;
  }
  if (lists_keys) {
    fmt::print("{}", describe_keys());
    return 0;
  }
  if (!checked.empty()) {
    StatusOr<std::vector<std::string>> lines = check_config(checked);
    if (!lines.ok()) return fail(lines.why(), kBadConfiguration);
    for (const std::string& line : *lines) fmt::print("{}\n", log_line(line));
    return 0;
  }
  if (!unprotected.empty()) {
    Status unprotected_now = MountPoint(unprotected).unprotect();
    return unprotected_now.ok() ? 0 : fail(unprotected_now.why(), kFailed);
  }
  if (config_file.empty() == data_dir.empty()) {
    return fail("give either a zoo.cfg or --data-dir DIR; see zabfsd --help", kBadConfiguration);
  }
  StatusOr<Config> config =
      config_file.empty() ? standalone_config(data_dir, mount_point) : load_config(config_file);
  if (!config.ok()) return fail(config.why(), kBadConfiguration);
  config->host.replica.zab.version = ZABFS_VERSION;
  if (!mount_point.empty()) config->mount.point = mount_point;
  config->host.replica.intervention.readdress = readdress;
  if (!last_zxid.empty()) config->host.replica.intervention.begin_alone = zxid_of(last_zxid);
  if (client_option->count() > 0) config->wire.port = client_port;
  if (makes_mount_point && !config->mount.point.empty()) {
    Status made = MountPoint::make(config->mount.point);
    if (!made.ok()) return fail(made.why(), kBadConfiguration);
  }
  return run(*config);
}

}  // namespace
}  // namespace zabfs::fsd

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], zabfs::fsd::kReplayArgument) == 0) {
    return zabfs::fsd::run_replay_process(argv[2]);
  }
  if (argc == 3 && std::strcmp(argv[1], zabfs::fsd::kGuardArgument) == 0) {
    return zabfs::fsd::run_connection_guard(argv[2]);
  }
  spdlog::set_default_logger(spdlog::stderr_logger_mt("zabfsd"));
  spdlog::set_formatter(zabfs::fsd::log_formatter(zabfs::fsd::log_style()));
  spdlog::flush_on(spdlog::level::debug);
  return zabfs::fsd::start(argc, argv);
}
