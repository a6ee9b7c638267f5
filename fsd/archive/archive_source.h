// The entries of a tar file, packed in any way that libarchive unpacks by itself.
//
// The file may be anybody's: names that lead elsewhere, hard links, devices, files larger than a
// node takes, and more entries or bytes than the bounds in ends.h are refused, with the entry's
// name. It is unpacked in two steps, so what is counted against the bounds is what comes out of the
// first one, headers and padding with it. A tar that was cut off is refused, also behind an entry.
#pragma once

#include <memory>
#include <unordered_set>

#include "fsd/archive/ends.h"

struct archive;
struct archive_entry;

namespace zabfs::archive {

class ArchiveSource : public Source {
 public:
  // Reads from `fd` on; `name` is for messages. The descriptor stays the caller's.
  ArchiveSource(int fd, std::string name);
  ~ArchiveSource() override;

  Taken next() override;
  uint64_t done() const override { return read_; }
  uint64_t total() const override { return total_; }

 private:
  static ssize_t read_packed(::archive*, void* self, const void** bytes);
  static ssize_t read_unpacked(::archive* inner, void* self, const void** bytes);
  Status open();
  Taken end();
  Taken failed(const std::string& why) const;
  Taken take(::archive_entry* header);
  Status take_data(::archive_entry* header, Entry& entry);
  Taken after_directories(Entry entry);

  const int fd_;
  const std::string name_;
  ::archive* outer_;  // unpacks
  ::archive* inner_;  // reads the tar
  bool is_open_ = false;
  bool has_begun_ = false;  // the outer one
  std::string packed_, unpacked_;
  uint64_t read_ = 0, total_ = 0, unpacked_bytes_ = 0, entries_ = 0;
  std::unordered_set<std::string> directories_;
  std::vector<Entry> next_;  // the first one last
};

}  // namespace zabfs::archive
