// zabfs revert: what a file or a directory was becomes what it is.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "fsd/archive/stream_source.h"
#include "fsd/beneath.h"
#include "fsd/tool/past.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace fs = std::filesystem;

namespace {

// Puts a file or a link there in one commit, unless somebody else changes it meanwhile.
int put_back(const std::string& file, const std::string& path, const PathAt& wanted) {
  fs::path target(fs::absolute(path).lexically_normal());
  std::string staging =
      join(target.parent_path().string(), fmt::format("@/txn/revert-{}-{}", ::getpid(), now_ms()));
  if (::mkdir(staging.c_str(), 0700) != 0) return fail(error_of(staging));
  std::string staged = join(staging, target.filename().string());
  std::error_code error;
  bool is_link = fs::is_symlink(fs::symlink_status(file));
  bool made = false;
  if (is_link) {
    made = ::symlink(fs::read_symlink(file).c_str(), staged.c_str()) == 0;
  } else if (std::optional<std::string> text = read_file(file)) {
    struct stat st = {};
    ::stat(file.c_str(), &st);
    int fd = ::open(staged.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    // It gets no setuid bit back.
    made = fd >= 0 && write_all(fd, *text) && ::fchmod(fd, st.st_mode & 0777) == 0;
    // Only root gives a file away: others get one of their own.
    if (made && ::geteuid() == 0) made = ::fchown(fd, st.st_uid, st.st_gid) == 0;
    if (fd >= 0 && ::close(fd) != 0) made = false;
  }
  int why = errno;
  if (made && ::rename(staging.c_str(), (staging + ".commit").c_str()) == 0) {
    fmt::print("{} is as it was at {}\n", path, wanted.when);
    return 0;
  }
  if (made) why = errno;
  fs::remove_all(staging, error);
  if (why == ESTALE) {
    return fail(fmt::format("somebody else changed {} just now; nothing is changed", path));
  }
  return fail(fmt::format("{}: {}; nothing is changed", path, std::strerror(why)));
}

// All of what there was at a path, and the directories above it that are gone. It is an import, by
// as few commits as it fits in. Each is made on what is there when it is compared.
int put_back_tree(const RevertOptions& options, const PathAt& wanted) {
  std::optional<Anchored> place = anchor(wanted.path);
  if (!place) return kUsage;
  std::string stream = join(place->directory, "@/at/" + wanted.when + ".export");
  fsd::Descriptor opened(::open(stream.c_str(), O_RDONLY | O_CLOEXEC));
  if (!opened) return errno == ENOENT ? no_such(wanted) : fail(error_of(stream));
  // First all of it is looked at: half of what he wanted is of no use to a user who may not have
  // the rest.
  archive::StreamSource look(opened.get(), stream, place->below);
  archive::Source::Taken taken = look.next();
  while (taken.entry) taken = look.next();
  if (!taken.status.ok()) return fail(taken.status.why());
  if (!look.has_found()) return no_such(wanted);
  if (look.refused() > 0) {
    return fail(
        fmt::format("{}: you may not read what it was, and {} in all there; nothing is "
                    "changed. Root may",
                    join(place->directory, look.first_refused()), look.refused()));
  }
  archive::StreamSource source(opened.get(), stream, place->below);
  ImportTreeOptions import;
  import.source = label_of(wanted);
  import.directory = place->directory;
  import.removes_others = options.removes_others && place->below.empty();
  import.dry_run = options.dry_run;
  int code = import_tree(import, &source);
  if (code != 0 || options.dry_run) return code;
  fmt::print("{} is as it was at {}{}\n", wanted.path, wanted.when,
             options.removes_others ? "" : ", beside what was added since (--delete removes that)");
  return 0;
}

}  // namespace

int revert(const RevertOptions& options) {
  PathAt wanted = parse_path_at(options.version);
  if (wanted.when.empty()) {
    return fail(fmt::format("{}: name the version, as PATH@ZXID; `zabfs log {}` shows them",
                            options.version, wanted.path),
                kUsage);
  }
  std::string file = file_at(wanted);
  std::string parent = fs::absolute(wanted.path).lexically_normal().parent_path();
  bool is_tree = file.empty() || is_directory(file) || !is_directory(parent);
  if (is_tree) return put_back_tree(options, wanted);
  if (is_directory(wanted.path)) {
    return fail(fmt::format("{} is a directory now: move it away first", wanted.path));
  }
  if (options.dry_run)
    return fail("--dry-run is for directories: zabfs diff compares a file", kUsage);
  return put_back(file, wanted.path, wanted);
}

}  // namespace zabfs::tool
