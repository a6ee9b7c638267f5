// zabfs debug: what support needs to know of a node, as one tar file without secrets.
//
// Each part is a file of the bundle; `index.txt` lists them, and those that could not be had with
// the reason. Parts come from commands that are killed if they hang (capture.h), so a node that
// answers nobody can be described, too.
#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>

#include "fsd/beneath.h"
#include "fsd/config/properties.h"
#include "fsd/config/redacted.h"
#include "fsd/tool/capture.h"
#include "fsd/tool/node_process.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace fs = std::filesystem;

namespace {

constexpr size_t kLogBytes = 4u << 20;
constexpr const char* kLogLines = "20000";
constexpr size_t kMaxListed = 100'000;

std::string name_of_bundle() {
  std::time_t now = std::time(nullptr);
  std::tm utc = {};
  ::gmtime_r(&now, &utc);
  std::string name = fmt::format("zabfs-debug-{}-{:%Y%m%dT%H%M%SZ}", host_name(), utc);
  std::replace(name.begin(), name.end(), '/', '-');
  return name;
}

// A directory of this user's alone, which goes with it.
class Scratch {
 public:
  explicit Scratch(const std::string& inner) {
    path_ = fs::temp_directory_path() / "zabfs-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) path_.clear();
    if (!path_.empty() && ::mkdir(join(path_, inner).c_str(), 0700) != 0) clear();
  }
  ~Scratch() { clear(); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  const std::string& path() const { return path_; }  // empty, with errno: there is none

 private:
  void clear() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
    path_.clear();
  }
  std::string path_;
};

class Bundle {
 public:
  explicit Bundle(std::string directory) : directory_(std::move(directory)) {}

  void add(const std::string& name, const std::string& source, const StatusOr<std::string>& part) {
    std::string why = part.why();
    if (part.ok() && !write(name, *part)) why = error_of(name);
    if (why.empty()) {
      index_ += fmt::format("{:<16} {:>9} bytes  {}\n", name, part->size(), source);
    } else {
      missing_ += fmt::format("{:<16} missing: {} ({})\n", name, why, source);
    }
  }
  bool finish() { return write("index.txt", index_ + missing_); }
  std::string index() const { return index_ + missing_; }

 private:
  bool write(const std::string& name, const std::string& text) const {
    fsd::Descriptor file(
        ::open(join(directory_, name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    return file && write_all(file.get(), text) && file.close();
  }

  std::string directory_, index_, missing_;
};

StatusOr<std::string> file_text(const std::string& file) {
  errno = 0;
  std::optional<std::string> text = read_file(file);
  if (!text) return Status::failed(error_of(file));
  return *text;
}

StatusOr<std::string> redacted(const std::string& file) {
  std::ifstream in(file);
  if (!in) return Status::failed(error_of(file));
  return fsd::without_secrets(in, file);
}

// The last value of a key in a configuration.
std::string value_in(const std::string& config, const std::string& key) {
  std::ifstream in(config);
  std::string value;
  for (const fsd::Property& line : fsd::parse_properties(in, config)) {
    if (line.key == key) value = line.value;
  }
  return value;
}

// Of whatever is below: kind, size, time of change and path. Symlinks are not followed.
std::string listing(const std::string& directory) {
  std::string text = directory + ":\n";
  std::error_code error;
  size_t count = 0;
  fs::recursive_directory_iterator entries(directory, error);
  if (error) return text + "(" + error.message() + ")\n";
  for (; entries != fs::recursive_directory_iterator(); entries.increment(error)) {
    if (error) return text + "(" + error.message() + ")\n";
    if (++count > kMaxListed) return text + fmt::format("(more than {} files)\n", kMaxListed);
    struct stat st = {};
    if (::lstat(entries->path().c_str(), &st) != 0) continue;
    text += fmt::format("{:o} {}:{} {:>12} {} {}\n", st.st_mode, st.st_uid, st.st_gid, st.st_size,
                        st.st_mtim.tv_sec, entries->path().lexically_relative(directory).string());
  }
  return text;
}

std::string free_space(const std::string& directory) {
  struct statvfs room = {};
  if (::statvfs(directory.c_str(), &room) != 0) return "(" + error_of(directory) + ")\n";
  return fmt::format("{} of {} bytes free, {} of {} inodes free\n", room.f_bavail * room.f_frsize,
                     room.f_blocks * room.f_frsize, room.f_favail, room.f_files);
}

StatusOr<std::string> data_text(const std::string& config) {
  std::string text;
  for (const char* key : {"dataDir", "dataLogDir"}) {
    std::string directory = value_in(config, key);
    if (!directory.empty()) text += listing(directory) + free_space(directory) + "\n";
  }
  if (text.empty()) return Status::failed(config + " names no dataDir that can be read");
  return text;
}

// The end of what its standard error is, if that is a file.
StatusOr<std::string> log_file_text(pid_t pid) {
  std::string name = fmt::format("/proc/{}/fd/2", pid);
  struct stat st = {};
  if (::stat(name.c_str(), &st) != 0) return Status::failed(error_of(name));
  if (!S_ISREG(st.st_mode)) {
    return Status::failed("the log goes neither to the journal of a unit nor to a file");
  }
  fsd::Descriptor file(::open(name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  if (!file) return Status::failed(error_of(name));
  off_t begin = std::max<off_t>(0, st.st_size - static_cast<off_t>(kLogBytes));
  std::string text(static_cast<size_t>(st.st_size - begin), '\0');
  ssize_t size = ::pread(file.get(), text.data(), text.size(), begin);
  if (size < 0) return Status::failed(error_of(name));
  text.resize(static_cast<size_t>(size));
  return text;
}

StatusOr<std::string> log_text(const NodeProcess& node) {
  if (node.unit.empty()) return log_file_text(node.pid);
  StatusOr<std::string> journal = capture({"journalctl", "--unit", node.unit, "--lines", kLogLines,
                                           "--no-pager", "--output", "short-iso-precise"},
                                          {20'000, kLogBytes});
  if (journal.ok() && journal->find(" zabfsd[") != std::string::npos) return journal;
  StatusOr<std::string> file = log_file_text(node.pid);
  return file.ok() ? file : journal;
}

std::string versions() {
  std::string text = "zabfs " ZABFS_VERSION "\n";
  auto add = [&text](const std::vector<std::string>& words) {
    StatusOr<std::string> told = capture(words);
    text += told.ok() ? *told : fmt::format("({}: {})\n", words[0], told.why());
  };
  add({"uname", "-a"});
  add({"fusermount3", "--version"});
  add({"dpkg-query", "--show", "zabfs", "libfuse3-3", "libboost-json1.81.0", "libssl3",
       "libzookeeper-mt2", "systemd"});
  text += read_file("/etc/os-release").value_or("(no /etc/os-release)\n");
  return text;
}

std::string mounts() {
  std::istringstream lines(read_file("/proc/self/mountinfo").value_or(""));
  std::string text;
  for (std::string line; std::getline(lines, line);) {
    if (line.find(" - fuse") != std::string::npos) text += line + "\n";
  }
  return text.empty() ? "(no FUSE filesystem is mounted)\n" : text;
}

std::string machine() {
  std::string text;
  for (const char* file : {"/proc/loadavg", "/proc/uptime", "/proc/meminfo", "/proc/pressure/cpu",
                           "/proc/pressure/io", "/proc/pressure/memory"}) {
    text += fmt::format("{}:\n{}\n", file, read_file(file).value_or("(can't be read)\n"));
  }
  return text;
}

// The clientPort, as `--server` takes it; empty: the configuration has none.
std::string server_of(const std::string& config) {
  std::string port = config.empty() ? "" : value_in(config, "clientPort");
  if (port.empty()) return {};
  std::string host = value_in(config, "clientPortAddress");
  if (host.empty()) host = "127.0.0.1";
  bool needs_brackets = host.find(':') != std::string::npos && !host.starts_with('[');
  return (needs_brackets ? "[" + host + "]" : host) + ":" + port;
}

// What the mount tells, or the server where none is mounted. It is asked by other processes, for it
// may hang; then it is asked no more.
void add_state(Bundle& bundle, const std::string& mount, const std::string& server) {
  Status silent;
  auto add = [&](const std::string& name, const std::string& source,
                 const std::vector<std::string>& words) {
    if (!silent.ok()) return bundle.add(name, source, silent);
    StatusOr<std::string> text = capture(words);
    bundle.add(name, source, text);
    if (!text.ok() && text.why().find("did not end") != std::string::npos) {
      silent = Status::failed("not asked for, as the node did not answer before");
    }
  };
  std::string self = fs::read_symlink("/proc/self/exe");
  bool is_mounted = !mount.empty();
  std::string door = is_mounted ? "--mount" : "--server", place = is_mounted ? mount : server;
  if (place.empty()) silent = Status::failed("nothing of zabfs is mounted here");
  add("status.txt", "zabfs status", {self, "status", door, place});
  add("status.json", "zabfs status --json", {self, "status", "--json", door, place});
  if (!is_mounted) silent = Status::failed("nothing of zabfs is mounted here");
  for (const char* name : {"cluster", "members", "health", "metrics", "log-level"}) {
    std::string file = join(mount, "@/" + std::string(name));
    add(std::string(name) + ".txt", file, {"cat", file});
  }
}

void add_process(Bundle& bundle, const StatusOr<NodeProcess>& node) {
  auto add = [&](const char* name, const std::string& source,
                 const std::function<StatusOr<std::string>()>& part) {
    bundle.add(name, source, node.ok() ? part() : StatusOr<std::string>(node.status()));
  };
  std::string directory = node.ok() ? fmt::format("/proc/{}", node->pid) : "/proc";
  add("log.txt", node.ok() && !node->unit.empty() ? node->unit : "standard error of zabfsd",
      [&] { return log_text(*node); });
  add("process.txt", directory + "/status", [&] { return file_text(directory + "/status"); });
  add("limits.txt", directory + "/limits", [&] { return file_text(directory + "/limits"); });
}

void add_config(Bundle& bundle, const std::string& config, const std::string& why) {
  if (config.empty()) {
    for (const char* name : {"zoo.cfg", "data.txt"}) {
      bundle.add(name, "the configuration", Status::failed(why));
    }
    return;
  }
  bundle.add("zoo.cfg", config + ", without secrets", redacted(config));
  std::string members = value_in(config, "dynamicConfigFile");
  if (!members.empty()) bundle.add("dynamic.cfg", members + ", without secrets", redacted(members));
  bundle.add("data.txt", "names and sizes in dataDir and dataLogDir", data_text(config));
}

// Nothing that is there is written over. Empty: it is written.
std::string write_tar(const std::string& directory, const std::string& name,
                      const std::string& target) {
  fsd::Descriptor file(
      ::open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file) return error_of(target);
  CaptureLimits limits{60'000, size_t{1} << 30};
  StatusOr<std::string> tar = capture(
      {"tar", "--create", "--owner=0", "--group=0", "--directory", directory, name}, limits);
  std::string why = tar.why();
  if (tar.ok() && (!write_all(file.get(), *tar) || !file.close())) why = error_of(target);
  if (!why.empty()) ::unlink(target.c_str());
  return why;
}

}  // namespace

int debug(DebugOptions options) {
  ::unsetenv("ZABFS_AUTH");  // no server needs to know it for what it is asked here
  std::string name = name_of_bundle();
  if (options.output.empty()) options.output = name + ".tar";
  if (options.mount.empty()) options.mount = find_mount();
  Scratch scratch(name);
  if (scratch.path().empty()) return fail(error_of(fs::temp_directory_path().string()));
  std::string directory = join(scratch.path(), name);
  Bundle bundle(directory);
  StatusOr<NodeProcess> node = node_of(options.mount);
  if (options.config.empty() && node.ok()) options.config = node->config;
  add_config(bundle, options.config,
             node.ok() ? "zabfsd was started without one, or by another user; name it by --config"
                       : node.why());
  add_state(bundle, options.mount, server_of(options.config));
  add_process(bundle, node);
  bundle.add("versions.txt", "of zabfs, libraries, kernel and distribution", versions());
  bundle.add("mounts.txt", "/proc/self/mountinfo", mounts());
  bundle.add("machine.txt", "/proc", machine());
  if (!bundle.finish()) return fail(error_of(directory));
  if (std::string why = write_tar(scratch.path(), name, options.output); !why.empty()) {
    return fail(why);
  }
  fmt::print(
      "{}{} holds these. No password is in it; names of znodes may be, in the log. Read it "
      "before you pass it on.\n",
      bundle.index(), options.output);
  return 0;
}

}  // namespace zabfs::tool
