// The entries of a stream of records (fsd/transfer/record.h) that a node gives, or those of them
// that have to do with one path.
#pragma once

#include <cstdint>
#include <string>

#include "fsd/archive/ends.h"
#include "fsd/transfer/record.h"

namespace zabfs::archive {

class StreamSource : public Source {
 public:
  // `fd` can be read from any offset, and outlives this. With `only`, a path in the stream, the
  // source has what is there, and the directories above it.
  StreamSource(int fd, std::string name, std::string only = {});

  Taken next() override;
  uint64_t done() const override { return read_; }
  uint64_t total() const override { return total_; }

  // Of those that were passed: whether the path that is wanted was among them.
  bool has_found() const { return has_found_; }
  // The first that the reader may not have, and how many there are.
  const std::string& first_refused() const { return first_refused_; }
  uint64_t refused() const { return refused_; }
  uint64_t entries() const { return entries_; }

 private:
  bool is_wanted(const std::string& path) const;
  bool leads_there(const std::string& path) const;
  bool read_more(Status& status);

  const int fd_;
  const std::string name_, only_;
  transfer::Decoder decoder_{kMaxFileBytes};
  std::string piece_;
  uint64_t read_ = 0, total_ = 0, entries_ = 0, refused_ = 0;
  bool has_found_ = false;
  std::string first_refused_;
};

}  // namespace zabfs::archive
