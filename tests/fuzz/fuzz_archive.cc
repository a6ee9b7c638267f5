// A tar from anywhere: what libarchive makes of it becomes entries that can't lead out of the
// directory, each behind its directory.
#include <sys/mman.h>
#include <unistd.h>

#include <unordered_set>

#include "fsd/archive/archive_source.h"

using namespace zabfs::archive;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  int fd = ::memfd_create("archive", MFD_CLOEXEC);
  if (fd < 0 || ::pwrite(fd, data, size, 0) != static_cast<ssize_t>(size)) return 0;
  {
    ArchiveSource source(fd, "archive");
    std::unordered_set<std::string> directories{""};
    for (int i = 0; i < 1'000; ++i) {
      Source::Taken taken = source.next();
      if (!taken.status.ok() || !taken.entry) break;
      const Entry& entry = *taken.entry;
      if (!zabfs::transfer::check(entry).ok()) __builtin_trap();
      size_t slash = entry.path.rfind('/');
      if (slash != std::string::npos && !directories.contains(entry.path.substr(0, slash))) {
        __builtin_trap();
      }
      if (entry.kind == Kind::kDirectory) directories.insert(entry.path);
    }
  }
  ::close(fd);
  return 0;
}
