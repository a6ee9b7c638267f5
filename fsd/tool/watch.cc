// zabfs watch: prints the changes of a directory, or runs a command for them.
//
// It outlives the daemon: when the mount is gone it waits for it to come again, and compares what
// it finds with what it saw last. With a state file it outlives itself in the same way.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "fsd/beneath.h"
#include "fsd/tool/process.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace json = boost::json;

namespace {

constexpr int kReopenMs = 500;
constexpr int kSettleMs = 30;   // changes that come within so long are one run of the command
constexpr int kMostLooks = 10;  // at a directory that changes meanwhile
constexpr size_t kMaxChangesShown = 32u << 10;

// What a watcher of the directory can tell apart: every znode's last change.
void add_picture(const std::string& path, const std::string& name, bool is_top, bool all,
                 std::string& picture) {
  picture += fmt::format("{} {} {} {}\n", name, attribute(path, "czxid"), attribute(path, "mzxid"),
                         attribute(path, "aversion"));
  struct stat st = {};
  if (!is_top && (!all || ::lstat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode))) return;
  for (const std::string& child : names_in(path)) {
    add_picture(join(path, child), is_top ? child : join(name, child), false, all, picture);
  }
}

std::string fingerprint(const WatchOptions& options) {
  std::string picture;
  add_picture(options.directory, ".", true, options.all, picture);
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : picture) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return fmt::format("{:016x}\n", hash);
}

void print_change(const std::string& line, bool as_json) {
  std::istringstream fields(line);
  json::object change;
  std::string zxid, type, name;
  fields >> zxid >> type;
  std::getline(fields >> std::ws, name);
  if (as_json) {
    change["zxid"] = zxid;
    if (!type.empty()) change["type"] = type;
    if (!type.empty()) change["name"] = name;
    fmt::print("{}\n", json::serialize(change));
  } else {
    fmt::print("{}\n", line);
  }
  std::fflush(stdout);
}

class Watching {
 public:
  explicit Watching(const WatchOptions& options)
      : options_(options),
        file_(join(options.directory, options.all ? "@/watch-all" : "@/watch")) {}

  int run() {
    bool is_lost = false;
    if (!open()) {
      // The mount that was there has gone at this moment: as if it went a moment later.
      is_lost = errno == ECONNABORTED || (errno == ENOTCONN && fd_ >= 0);
      if (!is_lost || options_.exec.empty()) return fail(error_of(file_));
    }
    if (options_.exec.empty()) return print();
    catch_signals();
    std::optional<std::string> before =
        options_.state_file.empty() ? std::nullopt : read_file(options_.state_file);
    int number = is_lost ? reconnect(ENOTCONN) : 0;
    if (number == 0) number = look(seen_);
    if (number != 0) return 128 + number;
    if (before && *before != seen_) execute("");  // changed while nobody watched
    remember();
    return follow();
  }

 private:
  int follow() {
    while (true) {
      std::string changes, now;
      bool there = next(-1, changes);
      int error = there ? 0 : errno;
      int number = caught().number;
      if (number == 0 && !there) {
        if (error == EINTR) continue;
        if (error == 0) return 0;  // the directory is gone
        number = reconnect(error);
      }
      if (number == 0) number = there ? look_behind(changes, now) : look_again(changes, now);
      if (number != 0) return 128 + number;
      if (there || now != seen_) execute(changes);
      seen_ = now;
      remember();
    }
  }

  bool open() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd_ < 0) return false;
    char first[64];
    ssize_t size = ::read(fd_, first, sizeof(first));
    if (size <= 0) return false;
    zxid_ = std::string(first, static_cast<size_t>(size) - 1);
    return true;
  }

  short state() const {
    pollfd wanted = {fd_, POLLIN, 0};
    return ::poll(&wanted, 1, 0) > 0 ? wanted.revents : short{0};
  }
  // Of a watch that has no more to tell, zabfsd says POLLIN, too.
  bool is_mount_gone() const { return (state() & (POLLIN | POLLERR)) == POLLERR; }

  // What follows gives the signal that ended it, or 0.

  // At the directory in a mount that is there from beginning to end: what a dead mount shows is no
  // change.
  int look(std::string& picture) {
    while (true) {
      picture = fingerprint(options_);
      if (!is_mount_gone()) return 0;
      if (int number = reconnect(ENOTCONN)) return number;
    }
  }

  // After a change, and those that came soon after it. What comes while the command runs is told of
  // again: once too often rather than never.
  int look_behind(std::string& changes, std::string& picture) {
    while (next(kSettleMs, changes)) {
    }
    return look(picture);
  }

  // In a mount that has come again. What is told during a look may be part of the picture, and is
  // not to be told twice.
  int look_again(std::string& changes, std::string& picture) {
    int number = 0;
    for (int looks = 0; number == 0 && looks < kMostLooks; ++looks) {
      number = look_behind(changes, picture);
      if ((state() & POLLIN) == 0) break;
    }
    return number;
  }

  // Returns when the mount is there again.
  int reconnect(int error) {
    fmt::print(stderr, "zabfs: {}: {}; waits for it to come again\n", file_, std::strerror(error));
    // A node that was killed begins with what its disk has: older than what was seen is no change.
    while (!barrier(options_.directory) || !open()) {
      ::poll(nullptr, 0, kReopenMs);
      if (int number = caught().number) return number;
    }
    return 0;
  }

  // Adds the next line; false at a timeout, a signal (EINTR), the end (errno 0) or an error.
  bool next(int timeout_ms, std::string& changes) {
    pollfd wanted[] = {{fd_, POLLIN, 0}, {caught_fd(), POLLIN, 0}};
    int ready = ::poll(wanted, 2, timeout_ms);
    if (ready > 0 && wanted[1].revents != 0) errno = EINTR;
    if (ready <= 0 || wanted[1].revents != 0) return false;
    char line[8192];
    ssize_t size = ::read(fd_, line, sizeof(line));
    if (size == 0) errno = 0;
    if (size <= 0) return false;
    std::string text(line, static_cast<size_t>(size));
    zxid_ = text.substr(0, text.find(' '));
    if (changes.size() + text.size() <= kMaxChangesShown) changes += text;
    return true;
  }

  int print() {
    print_change(zxid_, options_.as_json);
    while (true) {
      std::string change;
      if (next(-1, change)) {
        print_change(change.substr(0, change.size() - 1), options_.as_json);
      } else if (errno == 0) {
        return 0;
      } else if (errno != EINTR) {
        return fail(error_of(file_));
      }
    }
  }

  void execute(const std::string& changes) {
    int code = run_command(
        {"/bin/sh", "-c", options_.exec},
        {"ZABFS_DIR=" + options_.directory, "ZABFS_ZXID=" + zxid_, "ZABFS_CHANGES=" + changes});
    if (code != 0) fail(fmt::format("the command exited with {}", code));
  }

  void remember() {
    if (options_.state_file.empty()) return;
    std::string temporary = options_.state_file + ".new";
    // Always a new file: whoever else writes to that directory may have put something there.
    ::unlink(temporary.c_str());
    fsd::Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!file || !write_all(file.get(), seen_) || !file.close() ||
        ::rename(temporary.c_str(), options_.state_file.c_str()) != 0) {
      fail(error_of(options_.state_file));
    }
  }

  const WatchOptions& options_;
  std::string file_;
  std::string zxid_;  // of the last line
  std::string seen_;  // the fingerprint that the command last ran for
  int fd_ = -1;
};

}  // namespace

int watch(const WatchOptions& options) { return Watching(options).run(); }

}  // namespace zabfs::tool
