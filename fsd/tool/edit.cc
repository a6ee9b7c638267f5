// zabfs edit: a file in the editor, committed only if nobody else changed it meanwhile.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>

#include "fsd/tool/process.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

std::string editor() {
  for (const char* name : {"VISUAL", "EDITOR"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return value;
  }
  return "vi";
}

// Both versions beside each other, and where ours is kept.
int conflict(const std::string& file, const std::string& copy) {
  fmt::print(stderr, "zabfs: somebody else changed {}; your version is in {}\n", file, copy);
  run_command({"diff", "-u", "--label", file + " (now)", "--label", file + " (yours)", file, copy});
  return kFailed;
}

}  // namespace

int edit(const std::string& file) {
  std::string parent = std::filesystem::path(file).parent_path().string();
  if (!is_in_mount(parent.empty() ? "." : parent)) {
    return fail(fmt::format("{} is in no zabfs mount", file), kUsage);
  }
  // This handle's base is the version that it finds now: its commit replaces that one or nothing.
  int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return fail(error_of(file));
  std::optional<std::string> before = read_all(fd);
  if (!before) return fail(error_of(file));
  std::string name = std::filesystem::path(file).filename().string();
  std::string directory = std::filesystem::temp_directory_path() / "zabfs-edit-XXXXXX";
  if (::mkdtemp(directory.data()) == nullptr) return fail(error_of(directory));
  std::string copy = join(directory, name);
  int copied = ::open(copy.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (copied < 0 || !write_all(copied, *before) || ::close(copied) != 0) {
    return fail(error_of(copy));
  }
  catch_signals();  // Ctrl-C means the editor
  int code = run_command({"/bin/sh", "-c", editor() + " \"$1\"", "sh", copy});
  if (code != 0) return fail(fmt::format("the editor exited with {}; nothing is changed", code));
  std::optional<std::string> after = read_file(copy);
  if (!after) return fail(error_of(copy));
  int error = 0;
  if (*after != *before) {
    bool done = ::ftruncate(fd, 0) == 0 && write_all(fd, *after) && ::fsync(fd) == 0;
    error = done ? 0 : errno;
  }
  if (error == ESTALE) return conflict(file, copy);
  if (error != 0) {
    errno = error;
    return fail(fmt::format("{}; your version is in {}", error_of(file), copy));
  }
  std::filesystem::remove_all(directory);
  if (*after == *before) fmt::print(stderr, "zabfs: nothing is changed\n");
  return 0;
}

}  // namespace zabfs::tool
