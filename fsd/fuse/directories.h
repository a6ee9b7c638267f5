// Listings of directories.
//
// An open directory has its names in the order of their cookies. A cookie is the offset behind a
// name; it is made of the name alone, so it is the same in every listing. So whoever goes on in
// another listing, or in one that changed since, neither skips nor repeats a name that was there
// all the time. Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "consensus/mutex.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/page_turns.h"
#include "fsd/fuse/request.h"

namespace zabfs::fsd {

class Directories {
 public:
  Directories(const NodeTable& nodes, const NodeReader& reader, PageTurns& turns,
              HandleNumbers& numbers)
      : nodes_(nodes), reader_(reader), turns_(turns), numbers_(numbers) {}

  void open(const RequestPtr& request, KernelNode id, fuse_file_info info);
  void read(const RequestPtr& request, KernelNode id, size_t size, off_t offset, uint64_t handle);
  void close(const RequestPtr& request, uint64_t handle);

 private:
  struct Names {
    std::vector<std::pair<off_t, std::string>> sorted;  // by cookie
    tree::Zxid as_of;                                   // the last change of names that they have
  };
  struct Listing {
    bool is_cached = false;  // the kernel puts what it is given into its cache
    Mutex mutex;
    Names names GUARDED_BY(mutex);
  };
  Names names_of(KernelNode id) const;
  bool has_changed(KernelNode id, tree::Zxid as_of) const;
  bool fill(KernelNode id, const std::string& name, struct stat& st) const;

  const NodeTable& nodes_;
  const NodeReader& reader_;
  PageTurns& turns_;
  HandleNumbers& numbers_;
  HandleTable<Listing> listings_;
};

}  // namespace zabfs::fsd
