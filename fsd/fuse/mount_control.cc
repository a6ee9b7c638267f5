// The control room: the virtual directory `@` of every directory. What its files do is in recipes/;
// here their handles meet the kernel.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include "fsd/fuse/mount.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr std::string_view kCommitSuffix = ".commit";
constexpr int kSomeGroups = 64;  // that most users are in fewer than

bool is_known_flag(int set) {
  return (set & ~(FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW |
                  FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_CTIME)) == 0;
}

}  // namespace

std::string program_name(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(in, name);
  // Whatever its user called it: one word, that can be shown.
  auto is_odd = [](unsigned char c) { return c <= ' ' || c >= 0x7f; };
  std::replace_if(name.begin(), name.end(), is_odd, '_');
  return name.empty() ? "-" : name;
}

Caller Mount::caller_of(fuse_req_t req) {
  const fuse_ctx* context = fuse_req_ctx(req);
  Caller caller{{context->uid, {context->gid}}, context->gid};
  if (caller.uid == 0) return caller;  // may do everything
  caller.groups.resize(kSomeGroups);
  int count = fuse_req_getgroups(req, kSomeGroups, caller.groups.data());
  if (count > kSomeGroups) {
    caller.groups.resize(static_cast<size_t>(count));
    count = std::min(count, fuse_req_getgroups(req, count, caller.groups.data()));
  }
  // /proc has nothing of a process that is gone, or in another PID namespace.
  caller.knows_groups = count >= 0;
  caller.groups.resize(static_cast<size_t>(std::max(count, 0)));
  caller.groups.push_back(caller.gid);
  return caller;
}

Opener Mount::opener_of(fuse_req_t req, int flags) {
  const fuse_ctx* context = fuse_req_ctx(req);
  Opener opener;
  static_cast<Caller&>(opener) = caller_of(req);
  opener.pid = context->pid;
  opener.program = program_name(context->pid);
  opener.flags = flags;
  opener.wait = (flags & O_NONBLOCK) == 0;
  return opener;
}

// ---- names and attributes

std::optional<View> Mount::control_view(const Node& node) const {
  std::optional<View> shown =
      service_.replica().read([&](const tree::Tree& tree) -> std::optional<View> {
        const tree::ZNode* znode = tree.find(node.path);
        if (znode == nullptr || !stands_for(node, znode->stat.czxid)) return std::nullopt;
        View directory = view(tree, *znode, node.path);
        directory.size = node.control == Control::kData ? znode->data.size() : 0;
        return directory;
      });
  if (!shown) return std::nullopt;
  View own = *shown;
  own.kind = is_control_directory(node.control) ? tree::Kind::kDirectory : tree::Kind::kFile;
  own.mode = control_mode(node.control, shown->mode);
  own.ino = inode_number(tree::Zxid{-1 - static_cast<int64_t>(node.control)},
                         node.path + "/@/" + node.name);
  return own;
}

bool Mount::control_attributes(const Node& node, struct stat& st) const {
  std::optional<View> shown = control_view(node);
  if (shown) st = stat_of(*shown);
  return shown.has_value();
}

bool Mount::fill_control_entry(const Node& parent, Control control, const std::string& name,
                               fuse_entry_param& entry) {
  Node node;
  node.control = control;
  node.path = parent.path;
  node.czxid = parent.czxid;
  node.name = name;
  entry = {};
  if (!control_attributes(node, entry.attr)) return false;
  entry.ino = nodes_.look_up_control(node.path, node.czxid, control, name);
  return true;
}

void Mount::lookup_control(fuse_req_t req, const Node& parent, const std::string& name) {
  fuse_entry_param entry = {};
  bool found = false;
  if (parent.control == Control::kRoom) {
    Control control = control_named(name, parent.path == "/");
    found = control != Control::kNone && fill_control_entry(parent, control, "", entry);
  } else if (parent.control == Control::kTxn) {
    if (tree::is_valid_name(name)) return reply_entry_or_absent(req, txn_path(parent.path, name));
  } else if (parent.control == Control::kEphemeral) {
    // An ephemeral that is there is opened, not created; who may is decided then.
    std::string path = tree::join_path(parent.path, name);
    bool exists = service_.replica().read([&](const tree::Tree& tree) {
      const tree::ZNode* node = tree.find(path);
      return node != nullptr && tree::owner_kind(node->stat.owner) == tree::OwnerKind::kEphemeral;
    });
    found = exists && fill_control_entry(parent, Control::kEphemeralFile, name, entry);
  } else {
    Control control = member_named(parent.control, name);
    found = control != Control::kNone && fill_control_entry(parent, control, name, entry);
  }
  if (found) {
    fuse_reply_entry(req, &entry);
  } else {
    fuse_reply_err(req, ENOENT);
  }
}

void Mount::reply_entry_or_absent(fuse_req_t req, const std::string& path) {
  fuse_entry_param entry = {};
  bool found = service_.replica().read(
      [&](const tree::Tree& tree) { return fill_entry(tree, path, false, entry); });
  if (!found) return static_cast<void>(fuse_reply_err(req, ENOENT));
  fuse_reply_entry(req, &entry);
}

// ---- handles

Mount::ControlPtr Mount::find_control(const fuse_file_info* info) {
  return controls_.find(info->fh);
}

uint64_t Mount::add_control(std::shared_ptr<Handle> handle) {
  auto file = std::make_shared<ControlFile>();
  file->handle = std::move(handle);
  uint64_t number = next_handle_++;
  file->handle->set_on_readable([this, weak = std::weak_ptr(file)] {
    if (ControlPtr readable = weak.lock()) wake_poll(*readable);
  });
  controls_.add(number, file);
  return number;
}

void Mount::open_control(fuse_req_t req, const Node& node, fuse_file_info info) {
  Opener opener = opener_of(req, info.flags);
  info.direct_io = 1;
  on_strand([this, request = hold(req), node, info, opener = std::move(opener)]() mutable {
    struct stat st = {};
    if (!control_attributes(node, st)) return static_cast<void>(request->reply(ESTALE));
    std::shared_ptr<Handle> handle =
        room_.open(node.control, node.path, node.name, std::move(opener));
    if (!handle) {
      bool exists =
          service_.replica().tree().find(tree::join_path(node.path, node.name)) != nullptr;
      return static_cast<void>(request->reply(exists ? EEXIST : ENOENT));
    }
    request->on_interrupt(interrupts_, [handle] { handle->cancel_open(); });
    handle->open([this, request, handle, info](int error) mutable {
      if (error != 0) {
        handle->close();
        return static_cast<void>(request->reply(error));
      }
      info.fh = add_control(handle);
      if (request->reply_opened(info) != 0) release_control(info.fh);
    });
  });
}

void Mount::create_control(fuse_req_t req, const Node& parent, const std::string& name, mode_t mode,
                           fuse_file_info info) {
  if (parent.gone) return static_cast<void>(fuse_reply_err(req, ESTALE));
  if (parent.control != Control::kSeq && parent.control != Control::kEphemeral) {
    return static_cast<void>(fuse_reply_err(req, EACCES));
  }
  if (name.size() > tree::kMaxNameBytes) {
    return static_cast<void>(fuse_reply_err(req, ENAMETOOLONG));
  }
  if (!tree::is_valid_name(name) || name == kHidden) {
    return static_cast<void>(fuse_reply_err(req, EINVAL));
  }
  info.direct_io = 1;
  Opener opener = opener_of(req, info.flags);
  opener.mode = mode & tree::kModeBits;
  RequestPtr request = hold(req);
  when_writable(request, [this, request, parent, name, info, opener = std::move(opener)]() mutable {
    auto made = [this, request, parent, name, info](int error,
                                                    std::shared_ptr<Handle> handle) mutable {
      if (error != 0) return static_cast<void>(request->reply(error));
      fuse_entry_param entry = {};
      bool filled = fill_control_entry(parent, handle->control(), name, entry);
      handle->open([](int) {});
      info.fh = add_control(std::move(handle));
      if (!filled || request->reply_created(entry, info) != 0) {
        if (!filled) request->reply(ENOENT);
        release_control(info.fh);
      }
    };
    room_.make(parent.control, parent.path, name, std::move(opener), std::move(made));
  });
}

void Mount::release_control(uint64_t number) {
  ControlPtr file = controls_.take(number);
  if (!file) return;
  file->handle->close();
  if (file->poll != nullptr) fuse_pollhandle_destroy(std::exchange(file->poll, nullptr));
}

void Mount::read_control(fuse_req_t req, const ControlPtr& file, size_t size, off_t offset,
                         bool wait) {
  on_strand([this, request = hold(req), handle = file->handle, size, offset, wait] {
    session_.check_deadline();
    uint64_t number = next_read_++;
    request->on_interrupt(interrupts_, [handle, number] { handle->cancel_read(number); });
    handle->read(number, size, offset, wait, [request](int error, std::string_view bytes) {
      if (error != 0) return static_cast<void>(request->reply(error));
      request->reply_bytes(bytes);
    });
  });
}

void Mount::write_control(fuse_req_t req, const ControlPtr& file, const char* bytes, size_t size,
                          off_t offset, int flags) {
  auto answer = [request = hold(req), handle = file->handle, size](int error) {
    if (error != 0) {
      handle->refused(error);
      request->reply(error);
    } else {
      handle->note_written();
      request->reply_written(size);
    }
  };
  auto body = [this, handle = file->handle, copy = std::string(bytes, size), offset,
               append = (flags & O_APPEND) != 0, answer] {
    session_.check_deadline();
    if (handle->is_lost()) return answer(ESTALE);
    handle->write(copy, offset, append, answer);
  };
  on_strand([this, body = std::move(body), answer] { writer_.when_writable(body, answer); });
}

void Mount::setattr_control(fuse_req_t req, const Node& node, const struct stat& wanted, int set,
                            const fuse_file_info* info) {
  // Opened with O_TRUNC, as redirections do: changes nothing.
  if (!is_known_flag(set)) return static_cast<void>(fuse_reply_err(req, EPERM));
  ControlPtr file = info != nullptr ? find_control(info) : nullptr;
  on_strand([this, req, node, file, size = wanted.st_size, set] {
    if (file && (set & FUSE_SET_ATTR_SIZE) != 0) file->handle->truncate(size);
    reply_attributes(req, node.id, nullptr, false);
  });
}

// ---- poll

void Mount::wake_poll(ControlFile& file) {
  if (file.poll == nullptr) return;
  fuse_pollhandle* poll = std::exchange(file.poll, nullptr);
  fuse_lowlevel_notify_poll(poll);
  fuse_pollhandle_destroy(poll);
}

void Mount::poll(fuse_req_t req, const fuse_file_info* info, fuse_pollhandle* handle) {
  ControlPtr file = find_control(info);
  on_strand([this, req, file, handle] {
    constexpr unsigned kIn = 0x1, kOut = 0x4, kError = 0x8;  // POLLIN, POLLOUT, POLLERR
    if (!file) {
      if (handle != nullptr) fuse_pollhandle_destroy(handle);
      return static_cast<void>(fuse_reply_poll(req, kIn | kOut));
    }
    session_.check_deadline();
    if (handle != nullptr) {
      if (file->poll != nullptr) fuse_pollhandle_destroy(file->poll);
      file->poll = handle;
    }
    unsigned ready = file->handle->is_readable() ? kIn : 0;
    if (file->handle->is_lost()) ready |= kError;
    if (can_write(file->handle->control())) ready |= kOut;
    fuse_reply_poll(req, ready);
  });
}

// ---- the directory @/txn

void Mount::make_staging(fuse_req_t req, const Node& parent, const std::string& name, mode_t mode) {
  if (name.size() > tree::kMaxNameBytes) {
    return static_cast<void>(fuse_reply_err(req, ENAMETOOLONG));
  }
  if (!tree::is_valid_name(name) || name == kHidden || name.ends_with(kCommitSuffix)) {
    return static_cast<void>(fuse_reply_err(req, EINVAL));
  }
  const fuse_ctx* context = fuse_req_ctx(req);
  tree::AclList acl = acl_for_new(tree::Kind::kDirectory, mode & 07777, context->uid, context->gid);
  RequestPtr request = hold(req);
  when_writable(request, [this, request, path = txn_path(parent.path, name),
                          directory = parent.path, acl] {
    room_.create_hidden(directory, std::string(kTxnChild), "",
                        [this, request, path, acl](const Outcome& outcome) {
                          if (outcome.error != Error::kOk && outcome.error != Error::kNodeExists) {
                            return static_cast<void>(request->reply(to_errno(outcome.error)));
                          }
                          make_znode(request, path, "", acl);
                        });
  });
}

void Mount::remove_staging(fuse_req_t req, const Node& parent, const std::string& name,
                           bool directory) {
  if (!directory) return static_cast<void>(fuse_reply_err(req, EISDIR));
  RequestPtr request = hold(req);
  when_writable(request, [this, request, parent = parent.path, name, caller = caller_of(req)] {
    int error = room_.may_change_staging(parent, name, caller);
    if (error != 0) return static_cast<void>(request->reply(error));
    remove_path(request, txn_path(parent, name), true);
  });
}

// The rename that commits.
void Mount::commit_staging(fuse_req_t req, const Node& parent, const std::string& name,
                           const std::string& new_name) {
  if (new_name != name + std::string(kCommitSuffix)) {
    return static_cast<void>(fuse_reply_err(req, EPERM));
  }
  RequestPtr request = hold(req);
  when_writable(request, [this, request, directory = parent.path, name, caller = caller_of(req)] {
    room_.commit_txn(directory, name, caller, [request](int error) { request->reply(error); });
  });
}

}  // namespace zabfs::fsd
