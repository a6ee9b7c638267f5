// Open files of the control room, the virtual directory `@` of every directory. What they do is in
// recipes/; here their handles meet the kernel.
//
// Requests come on FUSE workers; the handles are used on the strand.
#pragma once

#include <memory>
#include <string>

#include "consensus/service.h"
#include "fsd/fuse/handle_table.h"
#include "fsd/fuse/node_answers.h"
#include "fsd/fuse/node_reader.h"
#include "fsd/fuse/own_writes.h"
#include "fsd/fuse/request.h"
#include "fsd/recipes/handle.h"
#include "fsd/recipes/room.h"
#include "fsd/session/session.h"

namespace zabfs::fsd {

class ControlFiles {
 public:
  struct Parts {
    consensus::Service& service;
    const NodeReader& reader;
    NodeAnswers& answers;
    OwnWrites& writes;
    HandleNumbers& numbers;
    Interrupts& interrupts;
    ClientSession& session;
    Room& room;
  };

  explicit ControlFiles(const Parts& parts) : parts_(parts) {}

  void open(const RequestPtr& request, const Node& node, fuse_file_info info);
  // In a directory of the room: `@/seq/PREFIX` and `@/ephemeral/NAME` are made by this.
  void create(const RequestPtr& request, const Node& parent, const std::string& name, mode_t mode,
              fuse_file_info info);
  void set_attributes(const RequestPtr& request, const Node& node, const struct stat& wanted,
                      int set, uint64_t handle);
  // Without a handle, or with one of another kind, it answers that it is ready.
  void poll(const RequestPtr& request, uint64_t handle, fuse_pollhandle* poll);

  // These are false for a handle that is not one of the control room.
  bool read(const RequestPtr& request, uint64_t handle, size_t size, off_t offset, bool wait);
  bool write(const RequestPtr& request, uint64_t handle, std::string_view bytes, off_t offset,
             int flags);
  // A close or fsync.
  bool flush(const RequestPtr& request, uint64_t handle);

  // On the strand. Nothing happens for a handle that is not one of the room.
  void release(uint64_t handle);
  // A lock that was taken through it is lost.
  void lose(uint64_t handle);

 private:
  struct File {
    std::shared_ptr<Handle> handle;
    fuse_pollhandle* poll = nullptr;
  };
  using FilePtr = std::shared_ptr<File>;
  uint64_t add(std::shared_ptr<Handle> handle);
  void opened(const RequestPtr& request, std::shared_ptr<Handle> handle, fuse_file_info info);
  static void wake_poll(File& file);

  const Parts parts_;
  HandleTable<File> files_;
  uint64_t next_read_ = 1;  // on the strand
};

}  // namespace zabfs::fsd
