#include "fsd/fuse/control_files.h"

#include <fcntl.h>

#include <cerrno>
#include <utility>

#include "fsd/fuse/callers.h"
#include "fsd/view/control.h"
#include "tree/path.h"

namespace zabfs::fsd {

namespace {

bool is_known_flag(int set) {
  return (set & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW |
                  FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_CTIME)) == 0;
}

}  // namespace

uint64_t ControlFiles::add(std::shared_ptr<Handle> handle) {
  auto file = std::make_shared<File>();
  file->handle = std::move(handle);
  uint64_t number = parts_.numbers.next();
  file->handle->set_on_readable([weak = std::weak_ptr(file)] {
    if (FilePtr readable = weak.lock()) wake_poll(*readable);
  });
  files_.add(number, file);
  return number;
}

void ControlFiles::open(const RequestPtr& request, const Node& node, fuse_file_info info) {
  info.direct_io = 1;
  parts_.service.post(
      [this, request, node, info, opener = opener_of(*request, info.flags)]() mutable {
        ClientSession::Acting as(parts_.session, opener.actor());
        if (!parts_.reader.control_view(node)) return static_cast<void>(request->reply(ESTALE));
        std::shared_ptr<Handle> handle =
            parts_.room.open(node.control, node.path, node.name, std::move(opener));
        if (!handle) {
          bool exists = parts_.room.tree().find(tree::join_path(node.path, node.name)) != nullptr;
          if (exists) return static_cast<void>(request->reply(EEXIST));
          // It was there when the kernel looked it up. With ESTALE the kernel looks again, and
          // creates it if it is to.
          bool is_gone = node.control == Control::kEphemeralFile;
          return static_cast<void>(request->reply(is_gone ? ESTALE : ENOENT));
        }
        opened(request, std::move(handle), info);
      });
}

void ControlFiles::opened(const RequestPtr& request, std::shared_ptr<Handle> handle,
                          fuse_file_info info) {
  request->on_interrupt(parts_.interrupts, [handle] { handle->cancel_open(); });
  handle->open([this, request, handle, info](FileError error) mutable {
    if (error != FileError::kOk) {
      handle->close();
      return static_cast<void>(request->reply(error));
    }
    info.fh = add(handle);
    if (request->reply_opened(info) != 0) release(info.fh);
  });
}

void ControlFiles::create(const RequestPtr& request, const Node& parent, const std::string& name,
                          mode_t mode, fuse_file_info info) {
  if (parent.gone) return static_cast<void>(request->reply(ESTALE));
  if (parent.control != Control::kSeq && parent.control != Control::kEphemeral) {
    return static_cast<void>(request->reply(EACCES));
  }
  if (name.size() > tree::kMaxNameBytes) return static_cast<void>(request->reply(ENAMETOOLONG));
  if (!tree::is_valid_name(name) || name == kHidden) {
    return static_cast<void>(request->reply(EINVAL));
  }
  info.direct_io = 1;
  Opener opener = opener_of(*request, info.flags);
  opener.mode = mode & tree::kModeBits;
  auto made = [this, request, parent, name, info](FileError error,
                                                  std::shared_ptr<Handle> handle) mutable {
    if (error != FileError::kOk) return static_cast<void>(request->reply(error));
    fuse_entry_param entry = {};
    bool filled = parts_.answers.fill_control_entry(parent, handle->control(), name, entry);
    handle->open([](FileError) {});
    info.fh = add(std::move(handle));
    if (filled && request->reply_created(entry, info) == 0) return;
    if (!filled) request->reply(ENOENT);
    release(info.fh);
  };
  parts_.writes.when_writable(
      request, [this, parent, name, opener = std::move(opener), made = std::move(made)]() mutable {
        parts_.room.make(parent.control, parent.path, name, std::move(opener), std::move(made));
      });
}

void ControlFiles::release(uint64_t handle) {
  FilePtr file = files_.take(handle);
  if (!file) return;
  ClientSession::Acting as(parts_.session, file->handle->opener().actor());
  file->handle->close();
  if (file->poll != nullptr) fuse_pollhandle_destroy(std::exchange(file->poll, nullptr));
}

void ControlFiles::lose(uint64_t handle) {
  if (FilePtr file = files_.find(handle)) file->handle->lose();
}

// ---- contents

bool ControlFiles::read(const RequestPtr& request, uint64_t number, size_t size, off_t offset,
                        bool wait) {
  FilePtr file = files_.find(number);
  if (!file) return false;
  parts_.service.post([this, request, handle = file->handle, size, offset, wait] {
    ClientSession::Acting as(parts_.session, handle->opener().actor());
    parts_.session.check_deadline();
    uint64_t read = next_read_++;
    request->on_interrupt(parts_.interrupts, [handle, read] { handle->cancel_read(read); });
    handle->read(read, size, offset, wait, [request](FileError error, std::string_view bytes) {
      if (error != FileError::kOk) return static_cast<void>(request->reply(error));
      request->reply_bytes(bytes);
    });
  });
  return true;
}

bool ControlFiles::write(const RequestPtr& request, uint64_t number, std::string_view bytes,
                         off_t offset, int flags) {
  FilePtr file = files_.find(number);
  if (!file) return false;
  auto answer = [request, handle = file->handle, size = bytes.size()](FileError error) {
    if (error != FileError::kOk) {
      handle->refused(error);
      request->reply(error);
    } else {
      handle->note_written();
      request->reply_written(size);
    }
  };
  auto body = [this, handle = file->handle, copy = std::string(bytes), offset,
               append = (flags & O_APPEND) != 0, answer] {
    ClientSession::Acting as(parts_.session, handle->opener().actor());
    parts_.session.check_deadline();
    if (handle->is_lost()) return answer(FileError::kStale);
    handle->write(copy, offset, append, answer);
  };
  parts_.writes.when_writable(std::move(body), answer);
  return true;
}

bool ControlFiles::flush(const RequestPtr& request, uint64_t number) {
  FilePtr file = files_.find(number);
  if (!file) return false;
  parts_.service.post([this, request, file] {
    ClientSession::Acting as(parts_.session, file->handle->opener().actor());
    file->handle->flush([request](FileError error) { request->reply(error); });
  });
  return true;
}

void ControlFiles::set_attributes(const RequestPtr& request, const Node& node,
                                  const struct stat& wanted, int set, uint64_t number) {
  // Opened with O_TRUNC, as redirections do: changes nothing.
  if (!is_known_flag(set)) return static_cast<void>(request->reply(EPERM));
  FilePtr file = files_.find(number);
  parts_.service.post([this, request, id = node.id, file, size = wanted.st_size, set] {
    if (file && (set & FUSE_SET_ATTR_SIZE) != 0) file->handle->truncate(size);
    parts_.answers.reply_attributes(request, id, false);
  });
}

// ---- poll

void ControlFiles::wake_poll(File& file) {
  if (file.poll == nullptr) return;
  fuse_pollhandle* poll = std::exchange(file.poll, nullptr);
  fuse_lowlevel_notify_poll(poll);
  fuse_pollhandle_destroy(poll);
}

void ControlFiles::poll(const RequestPtr& request, uint64_t number, fuse_pollhandle* poll) {
  parts_.service.post([this, request, file = files_.find(number), poll] {
    constexpr unsigned kIn = 0x1, kOut = 0x4, kError = 0x8;  // POLLIN, POLLOUT, POLLERR
    if (!file) {
      if (poll != nullptr) fuse_pollhandle_destroy(poll);
      return static_cast<void>(request->reply_polled(kIn | kOut));
    }
    parts_.session.check_deadline();
    if (poll != nullptr) {
      if (file->poll != nullptr) fuse_pollhandle_destroy(file->poll);
      file->poll = poll;
    }
    unsigned ready = file->handle->is_readable() ? kIn : 0;
    if (file->handle->is_lost()) ready |= kError;
    if (can_write(file->handle->control())) ready |= kOut;
    request->reply_polled(ready);
  });
}

}  // namespace zabfs::fsd
