// Changes of names and attributes: each is one commit, answered when it is durable on a quorum.
//
// Requests come on FUSE workers; the rest is on the strand.
#pragma once

#include <functional>
#include <string>

#include "consensus/service.h"
#include "fsd/fuse/files.h"
#include "fsd/fuse/kernel_cache.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/request.h"
#include "tree/acl.h"
#include "tree/request.h"

namespace zabfs::fsd {

class Changes {
 public:
  Changes(consensus::Service& service, const NodeReader& reader, NodeAnswers& answers,
          KernelCache& cache, OwnWrites& writes, Files& files)
      : service_(service),
        reader_(reader),
        answers_(answers),
        cache_(cache),
        writes_(writes),
        files_(files) {}

  // ---- requests
  // Of a file, a FIFO or a socket.
  void make_node(const RequestPtr& request, const std::string& path, tree::Kind kind, mode_t mode);
  void make_directory(const RequestPtr& request, const std::string& path, mode_t mode);
  void make_link(const RequestPtr& request, const std::string& path, const std::string& target);
  void remove(const RequestPtr& request, const std::string& path, bool is_directory);
  // `flags` are renameat2(2)'s: RENAME_NOREPLACE, RENAME_EXCHANGE.
  void rename(const RequestPtr& request, const std::string& from, const std::string& to,
              unsigned flags);
  // `set` are FUSE_SET_ATTR_*; `handle`, if it is asked for by one, else 0.
  void set_attributes(const RequestPtr& request, KernelNode id, const struct stat& wanted, int set,
                      uint64_t handle);

  // ---- on the strand, when there is a leader
  void make_znode(const RequestPtr& request, const std::string& path, std::string_view data,
                  const tree::AclList& acl);
  void remove_path(const RequestPtr& request, const std::string& path, bool is_directory,
                   int tries = kLeavingTries);

 private:
  // How often a directory in which nothing but contenders is left is looked at again: a lock that
  // was held by a program which has just ended goes with the next commit.
  static constexpr int kLeavingTries = 10;
  static constexpr int64_t kLeavingMs = 20;
  void make(const RequestPtr& request, const std::string& path, const std::string& data,
            const tree::AclList& acl);
  void rename_path(const RequestPtr& request, const std::string& from, const std::string& to,
                   unsigned flags);
  void note_contenders(const std::string& path, const tree::ZNode& directory);
  void set(const RequestPtr& request, KernelNode id, struct stat wanted, int set, uint64_t handle);
  void set_posix(const RequestPtr& request, KernelNode id, tree::PosixChange change);

  consensus::Service& service_;
  const NodeReader& reader_;
  NodeAnswers& answers_;
  KernelCache& cache_;
  OwnWrites& writes_;
  Files& files_;
  int64_t next_note_ms_ = 0;
};

}  // namespace zabfs::fsd
