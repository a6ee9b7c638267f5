// Commits of what was written through handles: by the first close, fsync or O_SYNC write after it,
// and soon after an append (DESIGN.md, "Reads and writes"; FUSE.md, "Shell writes").
//
// WriteBuffer has the rules. This class sends its commits, tells everybody who waits for one, and
// keeps what the kernel believes of the file's attributes, and what it is shown of them, in step.
//
// On the strand.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "consensus/service.h"
#include "fsd/fuse/deferred_attributes.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/node_table.h"
#include "fsd/fuse/notifications.h"
#include "fsd/fuse/open_file.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/write_buffer.h"
#include "fsd/session/writer.h"
#include "fsd/view/file_error.h"

namespace zabfs::fsd {

class FileCommits {
 public:
  using FilePtr = std::shared_ptr<OpenFile>;
  using Done = std::function<void(FileError error)>;

  FileCommits(consensus::Service& service, Notifications& notifications, NodeTable& nodes,
              DeferredAttributes& deferred, const NodeReader& reader, OwnWrites& writes,
              Writer& writer, int64_t commit_after_ms)
      : service_(service),
        notifications_(notifications),
        nodes_(nodes),
        deferred_(deferred),
        reader_(reader),
        writes_(writes),
        writer_(writer),
        commit_after_ms_(commit_after_ms) {}

  // What is committed of a file; none if it is gone.
  std::optional<WriteBuffer::Committed> committed(KernelNode id) const;
  // After a change of what a handle has written; `answer` is what became of the write or commit.
  void note(OpenFile& file, WriteBuffer::Answer answer = {});
  // The file is about to be renamed.
  void moved(OpenFile& file, const std::string& path);
  // Commits what was written; `done` runs when everything that was written before the call is
  // committed, or can't be. kFailed if that took longer than commitTimeout: then it goes on, and
  // the next commit waits for it.
  void commit(const FilePtr& file, Done done);
  // The same; `tell` gets the error of an append, too, that was refused when nobody waited for it.
  void commit_and_tell(const FilePtr& file, Done tell);
  // What a handle commits unasked, it commits after so long (zabfs.commitAfter).
  void commit_soon(const FilePtr& file);

 private:
  void begin(const FilePtr& file, bool is_asked);
  void send(const Node& node, WriteBuffer::Commit begun, const consensus::Completion& answered);
  void answered(const FilePtr& file, const tree::Outcome& outcome, bool is_asked);
  static void over(OpenFile& file, FileError error);

  consensus::Service& service_;
  Notifications& notifications_;
  NodeTable& nodes_;
  DeferredAttributes& deferred_;
  const NodeReader& reader_;
  OwnWrites& writes_;
  Writer& writer_;
  const int64_t commit_after_ms_;  // 0: nothing is committed unasked
};

}  // namespace zabfs::fsd
