// A tar in pax format: ACLs, times to live and containers are extended attributes in it, so that an
// import loses nothing. Owners are numbers; names are not in it.
#pragma once

#include "fsd/archive/ends.h"

struct archive;

namespace zabfs::archive {

// How it is packed; nullopt: a file of that name is no tar.
enum class Packing { kNone, kGzip, kXz, kZstd };
std::optional<Packing> packing_of(std::string_view name);

class ArchiveSink : public Sink {
 public:
  // Writes to `fd`, which stays the caller's; `name` is for messages.
  ArchiveSink(int fd, std::string name, Packing packing);
  ~ArchiveSink() override;

  Status put(const Entry& entry) override;
  Status finish() override;

 private:
  static ssize_t write_packed(::archive*, void* self, const void* bytes, size_t size);
  Status put_one(const Entry& entry, const std::string& name, Kind kind, std::string_view data);
  Status failed() const;

  const int fd_;
  const std::string name_;
  ::archive* archive_;
  bool is_open_;
};

}  // namespace zabfs::archive
