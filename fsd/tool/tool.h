// zabfs, the command-line tool: what its commands share. It works through a mount, as any script
// could; `status` and `members` ask a server over the network, too (server.h). Only `check`,
// `backup`, `restore` and what migrates (fsd/migrate) use the files of a node. Each command gives
// its exit code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fsd/tool/server.h"

namespace CLI {
class App;
}

namespace zabfs::archive {
class Source;
}

namespace zabfs::tool {

inline constexpr int kFailed = 1;
inline constexpr int kUsage = 2;
inline constexpr int kBusy = 75;  // EX_TEMPFAIL of sysexits.h: try again later
inline constexpr int kLockLost = 125;

// Says so on standard error; gives `code`.
int fail(const std::string& what, int code = kFailed);
// "FILE: why", from errno; of a file of a control room also that there is no such room.
std::string error_of(const std::string& file);
// Whether it is a directory of a mount.
bool is_in_mount(const std::string& directory);
// "there is no KIND "NAME".", and the one of the names that is close.
std::string unknown(const char* kind, const std::string& name,
                    const std::vector<std::string>& names);
int64_t now_ms();  // CLOCK_BOOTTIME
std::string host_name();
std::string join(const std::string& directory, std::string_view name);
std::optional<std::string> read_file(const std::string& file);
// From the beginning of an open file to its end; with errno if that fails.
std::optional<std::string> read_all(int fd);
bool write_all(int fd, const std::string& text);
// An extended attribute of the mount, `user.zabfs.NAME`; empty if there is none.
std::string attribute(const std::string& file, const char* name);
// Once it returns, this node has what was committed before. False, with errno: it may not have.
// EROFS is that the node has no quorum with it; that is answered as soon as the node knows it.
bool barrier(const std::string& directory);
// Why a barrier failed, in words.
std::string barrier_error_of(const std::string& directory);
bool is_ephemeral(const std::string& file);
// Of a path below a directory, of which nobody makes another one meanwhile (beneath.h).
bool is_ephemeral(int directory, const std::string& path);
std::vector<std::string> names_in(
    const std::string& directory);  // sorted; none if it can't be read

// The first zabfs mount of this machine, or the one that ZABFS_MOUNT names; empty if there is none.
std::string find_mount();

// ---- commands
struct StatusOptions {
  std::string mount;     // empty: the first
  ServerOptions server;  // in its place, if it has an address
  bool members_only = false;
  bool as_json = false;
  std::optional<double> watch_s;  // again after so many seconds, for ever
};
int status(StatusOptions options);
struct MembersOptions {
  enum class Change { kAdd, kRemove, kPromote, kDemote };
  Change change = Change::kAdd;
  std::string mount;     // empty: the first
  ServerOptions server;  // in its place, if it has an address
  int64_t id = 0;
  std::string address;     // HOST:QUORUMPORT:ELECTIONPORT[:observer][;CLIENTPORT]
  double timeout_s = 300;  // for the member to have what the others have
};
int change_members(const MembersOptions& options);
// Of an empty level: prints the one in force.
int change_log_level(std::string mount, const std::string& level);
struct LockOptions {
  std::string directory;
  double timeout_s = -1;  // negative: waits for as long as it takes
  int busy_code = kBusy;
  std::vector<std::string> command;
};
int lock(const LockOptions& options);
struct WatchOptions {
  std::string directory;
  bool all = false;
  bool as_json = false;
  std::string exec;
  std::string state_file;
};
int watch(const WatchOptions& options);
struct MemberOptions {
  std::string directory, name, data, check;
  double every_s = 5;
  std::vector<std::string> command;
};
int run_member(const MemberOptions& options);
// A directory and what is below it, or a file.
int who(const std::string& path, bool as_json);
int edit(const std::string& file);
struct LogOptions {
  std::string path;
  std::string since;  // a point of time (fsd/history/when.h); empty: from the beginning
  bool with_diffs = false;
  bool follows = false;  // also under the names that it had before it was moved
};
int log(const LogOptions& options);
int blame(const std::string& file);
// These name a version as PATH@WHEN (past.h).
int show(const std::string& what);
int diff_versions(const std::string& before, const std::string& after);
struct RevertOptions {
  std::string version;
  bool removes_others = false;  // of a directory: what was added since
  bool dry_run = false;         // of a directory: only prints what would change
};
int revert(const RevertOptions& options);
int show_tree(const std::string& directory, int depth, bool as_json);
int export_tree(const std::string& directory, const std::string& target);
struct ImportTreeOptions {
  std::string source, directory;
  bool removes_others = false;  // what is not in the source goes
  bool dry_run = false;         // only prints what would change
};
// From `source`, whose name the options have; without one, from what they name.
int import_tree(const ImportTreeOptions& options, archive::Source* source = nullptr);
struct BackupOptions {
  std::string file;            // a new one; - for standard output
  std::string mount;           // empty: the first
  std::string data, data_log;  // of a stopped node, in its place
};
int backup(const BackupOptions& options);
// `with_list`: its znodes, instead of what it says of itself.
int inspect_backup(const std::string& file, bool with_list);
struct RestoreOptions {
  std::string file;               // - for standard input
  std::string to, to_log;         // dataDir and dataLogDir; no dataLogDir: the same one
  std::optional<int64_t> server;  // nullopt: as myid says, or 1
  // Of the backup, into `to`, which is a directory of a mount; empty: all of it, into a dataDir.
  std::string subtree;
  bool removes_others = false;  // of a subtree: what it does not have goes
  bool dry_run = false;         // of a subtree: only prints what would change
};
int restore(const RestoreOptions& options);
int check(const std::string& directory, const std::string& log_directory);
struct DebugOptions {
  std::string output;  // empty: a name with host and time, in this directory
  std::string mount;   // empty: the first
  std::string config;  // empty: that of the zabfsd of the mount
};
int debug(DebugOptions options);
// Of the program, for an empty topic; `as_man`: pages of the manual as troff.
int help(const CLI::App& app, const std::string& topic, bool as_man);

}  // namespace zabfs::tool
