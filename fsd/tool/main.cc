// The command line of zabfs.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include "consensus/tls.h"
#include "fsd/config/config.h"
#include "fsd/manual/command_line.h"
#include "fsd/migrate/export.h"
#include "fsd/migrate/import.h"
#include "fsd/migrate/live_source.h"
#include "fsd/tool/server.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

// A command after `--`.
void take_command(CLI::App& app, std::vector<std::string>& command) {
  app.add_option("command", command, "the command, after --")->required();
  app.positionals_at_end(false);
}

// Which node is asked: that of a mount, or a server.
void add_place(CLI::App& app, std::string& mount, ServerOptions& server) {
  CLI::Option* place =
      app.add_option("--mount", mount, "the mount (default: $ZABFS_MOUNT, or the first)");
  CLI::Option* address = app.add_option("--server", server.address,
                                        "HOST:CLIENTPORT of a server, where there is no mount");
  address->excludes(place);
  app.add_option("--auth-file", server.auth_file,
                 "a file of mode 0600 with SCHEME:CREDENTIALS for the server, as "
                 "digest:USER:PASSWORD; - for standard input (default: $ZABFS_AUTH)")
      ->needs(address);
}

// `members`, and what changes them.
void add_members(CLI::App& app, int& code) {
  auto options = std::make_shared<MembersOptions>();
  auto as_json = std::make_shared<bool>(false);
  CLI::App* members = app.add_subcommand(
      "members",
      "print the members, or change them: needs reconfigEnabled=true, and root or the rights");
  add_place(*members, options->mount, options->server);
  members->add_flag("--json", *as_json, "for scripts");
  members->require_subcommand(0, 1);
  members->callback([members, options, as_json, &code] {
    if (!members->get_subcommands().empty()) return;
    StatusOptions shown;
    shown.mount = options->mount;
    shown.server = options->server;
    shown.members_only = true;
    shown.as_json = *as_json;
    code = status(shown);
  });
  using Change = MembersOptions::Change;
  auto add = [&](const char* name, const char* help, Change change) {
    CLI::App* sub = members->add_subcommand(name, help);
    sub->fallthrough();
    sub->add_option("id", options->id, "the server's number")->required();
    sub->callback([options, change, &code] {
      options->change = change;
      code = change_members(*options);
    });
    return sub;
  };
  CLI::App* sub = add("add",
                      "make a server a member. It observes first, and votes once it has what the "
                      "others have. Start its zabfsd before or meanwhile; its zoo.cfg lists the "
                      "members and itself",
                      Change::kAdd);
  sub->add_option("address", options->address,
                  "HOST:QUORUMPORT:ELECTIONPORT[:observer][;CLIENTPORT]")
      ->required();
  sub->add_option("--timeout", options->timeout_s, "seconds to wait for it (default: 300)");
  add("remove", "a server is no member any more", Change::kRemove);
  sub = add("promote", "an observer votes from then on, once it has what the others have",
            Change::kPromote);
  sub->add_option("--timeout", options->timeout_s, "seconds to wait for it (default: 300)");
  add("demote", "a voter observes from then on", Change::kDemote);
}

int code_of(const Status& status) { return status.ok() ? 0 : fail(status.why()); }

// `import-zookeeper --live`: what it needs of a server's client port, and of a zoo.cfg.
int import_live(const migrate::ImportOptions& options, migrate::LiveOptions live,
                const std::string& tls_file) {
  std::unique_ptr<ServerSession> session;
  live.configuration = [&session](const std::string& address) -> StatusOr<std::string> {
    ServerOptions server;
    server.address = address;
    auto opened = ServerSession::open(server);
    if (!opened.ok()) return opened.status();
    session = std::move(*opened);
    return session->configuration();
  };
  live.end_session = [&session] {
    tree::SessionId id = session ? session->id() : tree::SessionId{};
    session.reset();
    return id;
  };
  std::optional<consensus::TlsContext> tls;
  if (!tls_file.empty()) {
    StatusOr<fsd::Config> config = fsd::load_config(tls_file);
    if (!config.ok()) return fail(config.why());
    if (!config->host.quorum_tls) return fail(tls_file + " has no sslQuorum=true", kUsage);
    tls.emplace(*config->host.quorum_tls, [](const std::string&) {});
    Status status = tls->load();
    if (!status.ok()) return fail(status.why());
    live.tls = &*tls;
  }
  return code_of(migrate::import_live(options, live));
}

void add_import(CLI::App& app, int& code) {
  auto taken = std::make_shared<migrate::ImportOptions>();
  auto live = std::make_shared<migrate::LiveOptions>();
  auto tls_file = std::make_shared<std::string>();
  auto silence_s = std::make_shared<int>(static_cast<int>(live->silence.count()));
  CLI::App* sub = app.add_subcommand(
      "import-zookeeper",
      "make a dataDir of zabfsd's out of one of a stopped Apache ZooKeeper, or with --live out of "
      "an ensemble that runs and goes on: the same znodes, sessions, zxids and epochs. DATADIR is "
      "only read");
  CLI::Option* datadir = sub->add_option(
      "datadir", taken->from, "ZooKeeper's dataDir, which has a version-2; not with --live");
  CLI::Option* to =
      sub->add_option("to", taken->to, "zabfsd's dataDir, which gets a zabfs; it may be the same");
  CLI::Option* addresses = sub->add_option(
      "--live", live->addresses,
      "HOST:PORT,... of running servers, as their clients have it, or their quorum ports. Nothing "
      "there is stopped or changed");
  sub->add_option("--tls", *tls_file,
                  "a zoo.cfg with sslQuorum=true and the ssl.quorum.* stores, where the running "
                  "servers have that")
      ->needs(addresses);
  sub->add_option("--timeout", *silence_s,
                  "seconds that a running server may say nothing for (default: 60)")
      ->check(CLI::Range(1, 86'400))
      ->needs(addresses);
  sub->add_option("--log", taken->from_log, "ZooKeeper's dataLogDir, if that is another")
      ->excludes(addresses);
  sub->add_option("--to-log", taken->to_log, "zabfsd's dataLogDir, if that is another");
  sub->add_option("--server", taken->server, "the server's number (default: as in myid, or 1)")
      ->check(CLI::NonNegativeNumber);
  sub->add_flag("--force", taken->force,
                "go on where the log has gaps, or the tree another digest than the server's had");
  sub->callback([=, &code] {
    bool is_live = addresses->count() > 0;
    if (is_live == (to->count() > 0) || datadir->count() == 0) {
      code =
          fail(is_live ? "import-zookeeper --live ADDRESSES: name the dataDir TO, and no other"
                       : "import-zookeeper: name DATADIR and TO, or give --live ADDRESSES and TO",
               kUsage);
      return;
    }
    if (!is_live) {
      code = code_of(migrate::import_zookeeper(*taken));
      return;
    }
    taken->to = std::exchange(taken->from, {});
    live->silence = std::chrono::seconds(*silence_s);
    code = import_live(*taken, *live, *tls_file);
  });
}

// What comes from Apache ZooKeeper, and goes there.
void add_migration(CLI::App& app, int& code) {
  add_import(app, code);
  auto given = std::make_shared<migrate::ExportOptions>();
  CLI::App* sub = app.add_subcommand(
      "export-zookeeper",
      "make a dataDir that Apache ZooKeeper 3.8 starts from out of one of a stopped zabfsd; what "
      "ZooKeeper has no place for is left out and named");
  sub->add_option("from", given->from, "zabfsd's dataDir")->required();
  sub->add_option("to", given->to, "ZooKeeper's dataDir, which gets a version-2")->required();
  sub->add_option("--log", given->from_log, "zabfsd's dataLogDir, if that is another");
  sub->callback([given, &code] { code = code_of(migrate::export_zookeeper(*given)); });
}

void add_backup(CLI::App& app, int& code) {
  auto options = std::make_shared<BackupOptions>();
  CLI::App* sub = app.add_subcommand(
      "backup",
      "write all of the tree, as it is at one zxid, into one file; sessions and ephemerals are "
      "left out. As root, on a machine with a node; that needs no quorum");
  sub->add_option("file", options->file, "a new file; - for standard output");
  CLI::Option* mount =
      sub->add_option("--mount", options->mount, "the mount (default: $ZABFS_MOUNT, or the first)");
  CLI::Option* data =
      sub->add_option("--data", options->data, "the dataDir of a stopped node, in place of a mount")
          ->excludes(mount);
  sub->add_option("--data-log", options->data_log, "its dataLogDir, if that is another")
      ->needs(data);
  sub->require_subcommand(0, 1);
  sub->callback([sub, options, &code] {
    if (!sub->get_subcommands().empty()) return;
    code = options->file.empty() ? fail("backup: name a new FILE, or -", kUsage) : backup(*options);
  });
  auto with_list = std::make_shared<bool>(false);
  CLI::App* inspect = sub->add_subcommand(
      "inspect", "verify a backup, and print what it says of itself; exit 1 if it is damaged");
  inspect->add_option("file", options->file, "a backup; - for standard input")->required();
  inspect->add_flag("--list", *with_list, "print its znodes instead, as ls -l prints files");
  inspect->callback(
      [options, with_list, &code] { code = inspect_backup(options->file, *with_list); });

  auto wanted = std::make_shared<RestoreOptions>();
  sub = app.add_subcommand(
      "restore",
      "make a dataDir out of a backup, for one server of a new ensemble; it tells what to do next. "
      "With --subtree: bring a directory of a running ensemble back to what it was in the backup");
  sub->add_option("file", wanted->file, "a backup; - for standard input")->required();
  sub->add_option("to", wanted->to,
                  "zabfsd's dataDir, which gets a zabfs; with --subtree a directory of a mount")
      ->required();
  sub->add_option("--log", wanted->to_log, "zabfsd's dataLogDir, if that is another");
  sub->add_option("--server", wanted->server, "the server's number (default: as in myid, or 1)")
      ->check(CLI::NonNegativeNumber);
  CLI::Option* subtree =
      sub->add_option("--subtree", wanted->subtree, "a path in the backup, as /team/config");
  sub->add_flag("--delete", wanted->removes_others, "what the backup does not have there goes")
      ->needs(subtree);
  sub->add_flag("--dry-run", wanted->dry_run,
                "change nothing, and print what would change: + new, ~ changed, - removed")
      ->needs(subtree);
  sub->callback([wanted, &code] { code = restore(*wanted); });
}

int start(int argc, char** argv) {
  CLI::App app{
      "zabfs: locks, watches, members and the state of a mounted ensemble; its data on disk"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "zabfs " ZABFS_VERSION);
  int code = 0;
  std::string path, target, log_directory;
  bool as_json = false;
  int depth = -1;
  LockOptions lock_options;
  WatchOptions watch_options;
  MemberOptions member;
  bool is_member = false;
  auto json_flag = [&as_json](CLI::App* sub) { sub->add_flag("--json", as_json, "for scripts"); };

  StatusOptions status_options;
  CLI::App* sub = app.add_subcommand(
      "status", "show the members, their roles and what is amiss; exit 0 with quorum, 1 without");
  add_place(*sub, status_options.mount, status_options.server);
  sub->add_flag("--json", status_options.as_json, "for scripts");
  sub->add_option("--watch", status_options.watch_s, "again each so many seconds (default: 2)")
      ->expected(0, 1)
      ->default_str("2")
      ->check(CLI::PositiveNumber);
  sub->callback([&] { code = status(status_options); });

  add_members(app, code);

  sub = app.add_subcommand(
      "lock",
      "take DIR's lock, run CMD, exit with its code; 75 if somebody else has the lock, 125 if it "
      "was "
      "lost. The lock lasts as long as CMD does, and what CMD leaves running. CMD finds the lock's "
      "fencing token in ZABFS_TOKEN. Signals go on to CMD");
  sub->add_option("dir", lock_options.directory, "a directory of the mount")->required();
  sub->add_option("--timeout", lock_options.timeout_s, "seconds to wait; 0 not at all");
  sub->add_flag_callback(
      "-n,--no-wait", [&] { lock_options.timeout_s = 0; }, "don't wait: as --timeout 0");
  sub->add_option("-E,--busy-code", lock_options.busy_code,
                  "the exit code when somebody else has the lock, instead of 75")
      ->check(CLI::Range(0, 255));
  take_command(*sub, lock_options.command);
  sub->callback([&] { code = lock(lock_options); });

  sub = app.add_subcommand("watch", "print the changes of a directory, or run a command for them");
  sub->add_option("dir", watch_options.directory, "a directory of the mount")->required();
  sub->add_flag("--all", watch_options.all, "and of all that is below it");
  sub->add_flag("--json", watch_options.as_json, "one object a line");
  sub->add_option("--exec", watch_options.exec,
                  "a shell command to run after changes, once for those that come together; it "
                  "finds ZABFS_DIR, ZABFS_ZXID and, line by line, ZABFS_CHANGES (empty: unknown)");
  sub->add_option("--state", watch_options.state_file,
                  "remember here what --exec ran for: started again, it runs at once if that "
                  "changed meanwhile, and not if it didn't");
  sub->callback([&] { code = watch(watch_options); });

  sub = app.add_subcommand("run", "register a member of DIR while CMD runs; exit with its code");
  sub->add_flag("--member", is_member, "register an ephemeral child of DIR")->required();
  sub->add_option("dir", member.directory, "a directory of the mount")->required();
  sub->add_option("--name", member.name, "the child's name (default: host name and pid)");
  sub->add_option("--data", member.data, "its data: an address, a weight");
  sub->add_option("--check", member.check, "a shell command: the member is there while it exits 0");
  sub->add_option("--every", member.every_s, "seconds between checks")
      ->check(CLI::Range(0.1, 86'400.0));
  take_command(*sub, member.command);
  sub->callback([&] {
    if (member.name.empty()) member.name = fmt::format("{}-{}", host_name(), ::getpid());
    code = run_member(member);
  });

  std::string mount, level;
  sub = app.add_subcommand("log-level",
                           "print what the node's log is told, or set it until the next start");
  sub->add_option("level", level, "debug, info, warning or error; only root sets it");
  sub->add_option("--mount", mount, "the mount (default: $ZABFS_MOUNT, or the first)");
  sub->callback([&] { code = change_log_level(mount, level); });

  sub = app.add_subcommand(
      "who",
      "print who holds or waits for locks, leadership and the like, on all nodes, of PATH and what "
      "is below it: kind, state, node, pid, program, since when, fencing token, path");
  sub->add_option("path", path, "a directory or a file of the mount (default: this directory)");
  json_flag(sub);
  sub->callback([&] { code = who(path.empty() ? "." : path, as_json); });

  sub = app.add_subcommand("edit",
                           "edit FILE in $VISUAL or $EDITOR; commit if nobody else changed it");
  sub->add_option("file", path, "a file of the mount")->required();
  sub->callback([&] { code = edit(path); });

  LogOptions log_options;
  sub = app.add_subcommand("log",
                           "show the versions of a file, or what was changed in a directory and "
                           "below it, newest first, as far as this node's log goes back");
  sub->add_option("path", log_options.path,
                  "a file or a directory of the mount (default: this directory); also one that was "
                  "removed");
  sub->add_flag("-p,--patch", log_options.with_diffs, "with what was changed, as diff -u shows it");
  sub->add_flag("--follow", log_options.follows,
                "also under the names that it had before it was moved");
  sub->add_option("--since", log_options.since,
                  "from then on: 2026-11-30T04:15, 2026-11-30T04:15:00Z, -2h, or a zxid");
  sub->callback([&] {
    if (log_options.path.empty()) log_options.path = ".";
    code = log(log_options);
  });

  sub = app.add_subcommand("blame",
                           "print a file with the version that brought each line, and who made it");
  sub->add_option("file", path, "a file of the mount")->required();
  sub->callback([&] { code = blame(path); });

  sub = app.add_subcommand("show", "print a file as it was");
  sub->add_option("version", path, "PATH@ZXID, or PATH@TIME: 2026-11-30T04:15, -2h")->required();
  sub->callback([&] { code = show(path); });

  sub = app.add_subcommand("diff", "show how two versions of a file or a directory differ");
  sub->add_option("before", path,
                  "PATH@ZXID or PATH@TIME; PATH alone: the version before the last one")
      ->required();
  sub->add_option("after", target, "the same, of this or another file (default: as it is now)");
  sub->callback([&] { code = diff_versions(path, target); });

  sub = app.add_subcommand("revert",
                           "make a file what it was, in one commit, if nobody else changes it "
                           "meanwhile; or a directory with all that is below it, in as few commits "
                           "as it fits in. What was removed is made again");
  RevertOptions revert_options;
  sub->add_option("version", revert_options.version, "PATH@ZXID or PATH@TIME")->required();
  sub->add_flag("--delete", revert_options.removes_others,
                "of a directory: also remove what was added since");
  sub->add_flag("--dry-run", revert_options.dry_run,
                "of a directory: print what would be made (+), changed (~) and removed (-)");
  sub->callback([&] { code = revert(revert_options); });

  sub = app.add_subcommand("tree", "show a directory and what is below it");
  sub->add_option("dir", path, "a directory of the mount (default: this one)");
  sub->add_option("--depth", depth, "so many levels only");
  json_flag(sub);
  sub->callback([&] { code = show_tree(path.empty() ? "." : path, depth, as_json); });

  sub = app.add_subcommand("export", "copy DIR as it is at one zxid to a directory or a tar file");
  sub->add_option("dir", path, "a directory of the mount")->required();
  sub->add_option(
         "target", target,
         "a new directory; FILE.tar, .tar.gz, .tgz, .tar.xz or .tar.zst; or - for a tar on "
         "standard output")
      ->required();
  sub->callback([&] { code = export_tree(path, target); });

  ImportTreeOptions import_options;
  sub = app.add_subcommand("import",
                           "copy an export, or any directory or tar file, into DIR. What DIR has "
                           "already is passed over, so an import that ended early is begun again");
  sub->add_option("source", import_options.source,
                  "a directory, or a tar file however it is packed; - for standard input")
      ->required();
  sub->add_option("dir", import_options.directory, "a directory of the mount")->required();
  sub->add_flag("--delete", import_options.removes_others,
                "remove from DIR what the source does not have; ephemerals stay");
  sub->add_flag("--dry-run", import_options.dry_run,
                "change nothing: print what would be made (+), changed (~) and removed (-)");
  sub->callback([&] { code = import_tree(import_options); });

  sub = app.add_subcommand("check",
                           "verify the data directory of a stopped node; exit 1 if it is damaged");
  sub->add_option("dir", path, "its dataDir")->required();
  sub->add_option("--log-dir", log_directory, "its dataLogDir, if that is another");
  sub->callback([&] { code = check(path, log_directory); });

  add_backup(app, code);
  add_migration(app, code);

  DebugOptions debug_options;
  sub = app.add_subcommand(
      "debug",
      "write what support needs to know of a node into one tar file: configuration, state, log, "
      "versions; no passwords and no data. As root it has most");
  sub->add_option("-o,--output", debug_options.output,
                  "a new file (default: zabfs-debug-HOST-TIME.tar)");
  sub->add_option("--mount", debug_options.mount,
                  "the mount (default: $ZABFS_MOUNT, or the first)");
  sub->add_option("--config", debug_options.config,
                  "the zoo.cfg (default: the one that zabfsd was started with)");
  sub->callback([&] { code = debug(debug_options); });

  std::string topic;
  bool as_man = false;
  sub =
      app.add_subcommand("help", "explain a command, a recipe, a key of zoo.cfg or another topic");
  sub->add_option("topic", topic, "what to explain (default: the commands)");
  sub->add_flag("--man", as_man, "a page of the manual as troff, for man -l");
  sub->callback([&] { code = help(app, topic, as_man); });

  std::string command = argc > 1 ? argv[1] : "";
  std::vector<std::string> commands = fsd::manual::subcommand_names(app);
  bool is_known = command.empty() || command.starts_with('-') ||
                  std::find(commands.begin(), commands.end(), command) != commands.end();
  if (!is_known) return fail(unknown("command", command, commands) + " See zabfs --help.", kUsage);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  return code;
}

}  // namespace
}  // namespace zabfs::tool

int main(int argc, char** argv) { return zabfs::tool::start(argc, argv); }
