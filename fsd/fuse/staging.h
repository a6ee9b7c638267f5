// What is made in, removed from and renamed in `@/txn`: directories in which a transaction is put
// together, and the rename that commits one (recipes/txn.cc). Requests come on FUSE workers.
#pragma once

#include <string>

#include "fsd/fuse/changes.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/request.h"
#include "fsd/recipes/room.h"

namespace zabfs::fsd {

class Staging {
 public:
  Staging(OwnWrites& writes, Room& room, Changes& changes)
      : writes_(writes), room_(room), changes_(changes) {}

  void make(const RequestPtr& request, const Node& parent, const std::string& name, mode_t mode);
  void remove(const RequestPtr& request, const Node& parent, const std::string& name,
              bool is_directory);
  // To NAME.commit.
  void rename(const RequestPtr& request, const Node& parent, const std::string& name,
              const std::string& new_name);

 private:
  OwnWrites& writes_;
  Room& room_;
  Changes& changes_;
};

}  // namespace zabfs::fsd
