// Names, attributes and symbolic links: what is read of the tree beside contents and listings.
// Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "consensus/service.h"
#include "fsd/fuse/file_commits.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/open_file.h"
#include "fsd/fuse/page_turns.h"
#include "fsd/fuse/past_files.h"
#include "fsd/fuse/release_gate.h"
#include "fsd/fuse/replay_feed.h"
#include "fsd/fuse/request.h"

namespace zabfs::fsd {

class Names {
 public:
  struct Parts {
    consensus::Service& service;
    NodeTable& nodes;
    const NodeReader& reader;
    NodeAnswers& answers;
    KernelCache& cache;
    PageTurns& turns;
    const FileCommits& commits;
    ReleaseGate& gate;
    ReplayFeed& replays;
    const Replayer& replayer;
    PastFiles* past = nullptr;  // null: there is none to be seen
  };

  explicit Names(const Parts& parts) : parts_(parts) {}

  void lookup(const RequestPtr& request, KernelNode parent, const std::string& name);
  // `file`, if it is asked for by a handle.
  void attributes(const RequestPtr& request, KernelNode id, const std::shared_ptr<OpenFile>& file);
  void link(const RequestPtr& request, KernelNode id);
  void forget(KernelNode id, uint64_t lookups);

 private:
  void lookup_child(const RequestPtr& request, KernelNode parent, const std::string& name);
  void lookup_control(const RequestPtr& request, const Node& parent, const std::string& name);

  const Parts parts_;
};

}  // namespace zabfs::fsd
