// The control room: the virtual directory `@` of every directory.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include "fsd/fuse/mount.h"
#include "fsd/recipes/help.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr std::string_view kNextChild = "next";

Control control_named(std::string_view name, bool is_root) {
  if (name == "help") return Control::kHelp;
  if (name == "data") return Control::kData;
  if (name == "stat") return Control::kStat;
  if (name == "watch") return Control::kWatch;
  if (name == "lock") return Control::kLock;
  if (name == "next") return Control::kNext;
  if (name == "seq") return Control::kSeq;
  if (name == "ephemeral") return Control::kEphemeral;
  if (is_root && name == "cluster") return Control::kCluster;
  if (is_root && name == "handles") return Control::kHandles;
  return Control::kNone;
}

// The mode of a control file, class by class, from its directory's.
uint32_t control_mode(Control control, uint32_t directory) {
  uint32_t read = directory & 0444;
  uint32_t write = directory & 0222;
  switch (control) {
    case Control::kNone:
      return 0;
    case Control::kHelp:
    case Control::kStat:
    case Control::kWatch:
    case Control::kCluster:
    case Control::kHandles:
      return read;
    case Control::kData:
    case Control::kLock:
    case Control::kSeqFile:
    case Control::kEphemeralFile:
      return read | write;
    case Control::kNext:
      return write << 1 | write;  // reading it takes a number
    case Control::kRoom:
      return read | read >> 2;
    case Control::kSeq:
    case Control::kEphemeral:
      return read | write | read >> 2 | write >> 1;
  }
  return 0;
}

bool is_control_directory(Control control) {
  return control == Control::kRoom || control == Control::kSeq || control == Control::kEphemeral;
}

}  // namespace

std::string program_name(pid_t pid) {
  std::ifstream in(fmt::format("/proc/{}/comm", pid));
  std::string name;
  std::getline(in, name);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name.empty() ? "-" : name;
}

bool Mount::control_attributes(const Node& node, struct stat& st) {
  std::optional<View> shown =
      host_.replica().read([&](const tree::Tree& tree) -> std::optional<View> {
        const tree::ZNode* znode = tree.find(node.path);
        if (znode == nullptr) return std::nullopt;
        View directory = view(tree, *znode, node.path);
        directory.size = node.control == Control::kData ? znode->data.size() : 0;
        return directory;
      });
  if (!shown) return false;
  View own = *shown;
  own.kind = is_control_directory(node.control) ? tree::Kind::kDirectory : tree::Kind::kFile;
  own.mode = control_mode(node.control, shown->mode);
  own.ino = inode_number(tree::Zxid{-1 - static_cast<int64_t>(node.control)},
                         node.path + "/@/" + node.name);
  st = stat_of(own);
  return true;
}

bool Mount::fill_control_entry(const std::string& directory, Control control,
                               const std::string& name, fuse_entry_param& entry) {
  Node node;
  node.control = control;
  node.path = directory;
  node.name = name;
  entry = {};
  if (!control_attributes(node, entry.attr)) return false;
  entry.ino = nodes_.look_up_control(directory, control, name);
  return true;
}

void Mount::lookup_control(fuse_req_t req, const Node& parent, const std::string& name) {
  fuse_entry_param entry = {};
  bool found = false;
  if (parent.control == Control::kRoom) {
    Control control = control_named(name, parent.path == "/");
    found = control != Control::kNone && fill_control_entry(parent.path, control, "", entry);
  } else if (parent.control == Control::kEphemeral) {
    // An ephemeral that is there is opened, not created; who may is decided then.
    std::string path = tree::join_path(parent.path, name);
    bool exists = host_.replica().read([&](const tree::Tree& tree) {
      const tree::ZNode* node = tree.find(path);
      return node != nullptr && tree::owner_kind(node->stat.owner) == tree::OwnerKind::kEphemeral;
    });
    found = exists && fill_control_entry(parent.path, Control::kEphemeralFile, name, entry);
  }
  if (found) {
    fuse_reply_entry(req, &entry);
  } else {
    fuse_reply_err(req, ENOENT);
  }
}

std::string Mount::control_text(Control control, const std::string& directory) {
  if (control == Control::kHelp) return std::string(kHelpText);
  if (control == Control::kCluster) return cluster_text();
  if (control == Control::kHandles) return handles_text();
  const tree::Tree& tree = host_.replica().tree();
  if (control == Control::kLock) return LockTable::describe(tree, directory);
  const tree::ZNode* node = tree.find(directory);
  return node == nullptr ? "" : stat_text(tree.stat_of(*node));
}

std::string Mount::cluster_text() const {
  const consensus::Replica& replica = const_cast<consensus::Host&>(host_).replica();
  const consensus::Zab& zab = replica.zab();
  const consensus::Ensemble& ensemble = zab.ensemble();
  bool serving = replica.is_serving();
  std::string text = fmt::format("node {}\n", zab.config().me.value);
  text += fmt::format("role {}\n", serving ? consensus::role_name(zab.role())
                                           : role_name(consensus::Role::kLooking));
  text += serving ? fmt::format("leader {}\n", zab.leader().value) : "leader -\n";
  text += fmt::format("epoch {}\nzxid 0x{:x}\nquorum {}\n", zab.epoch(),
                      replica.tree().last_zxid().value, serving ? "yes" : "no");
  text += fmt::format("votes {}\ndisk {}\n", zab.state().votes ? "yes" : "no",
                      replica.is_disk_full() ? "full" : "ok");
  for (const consensus::MemberStatus& status : replica.member_status()) {
    const consensus::Member* member = ensemble.find(status.id);
    if (member == nullptr) continue;
    consensus::Role role = serving ? status.role : consensus::Role::kLooking;
    if (serving && status.id == zab.leader()) role = consensus::Role::kLeading;
    text += fmt::format("member {} {}:{} {} zxid 0x{:x}\n", status.id.value, member->host,
                        member->quorum_port, consensus::role_name(role), status.zxid.value);
  }
  return text;
}

std::string Mount::handles_text() const {
  std::string text = locks_.handles();
  auto& self = const_cast<Mount&>(*this);
  std::lock_guard lock(self.handles_mutex_);
  std::map<uint64_t, ControlPtr> sorted(controls_.begin(), controls_.end());
  for (const auto& [number, file] : sorted) {
    if (file->ephemeral) {
      text += fmt::format("ephemeral {} {} {}\n", file->child, file->pid, program_name(file->pid));
    } else if (file->watch) {
      text += fmt::format("watch {} {} {}\n", tree::join_path(file->directory, "@/watch"),
                          file->pid, program_name(file->pid));
    }
  }
  return text;
}

// ---- handles

Mount::ControlPtr Mount::find_control(const fuse_file_info* info) {
  std::lock_guard lock(handles_mutex_);
  auto place = controls_.find(info->fh);
  return place == controls_.end() ? nullptr : place->second;
}

void Mount::open_control(fuse_req_t req, const Node& node, fuse_file_info info) {
  auto file = std::make_shared<ControlFile>();
  file->control = node.control;
  file->directory = node.path;
  file->pid = fuse_req_ctx(req)->pid;
  info.direct_io = 1;
  on_strand([this, req, node, file, info]() mutable {
    if (node.control == Control::kEphemeralFile) {
      file->child = tree::join_path(node.path, node.name);
      const tree::ZNode* znode = host_.replica().tree().find(file->child);
      bool ours = znode != nullptr && znode->stat.owner == session_.id().value;
      if (!ours) return static_cast<void>(fuse_reply_err(req, znode == nullptr ? ENOENT : EEXIST));
    }
    if (node.control == Control::kWatch) {
      file->watch = std::make_unique<Watch>(host_.replica().tree(), node.path);
    } else if (node.control != Control::kNext && node.control != Control::kEphemeralFile) {
      file->text = control_text(node.control, node.path);
    }
    info.fh = next_handle_++;
    {
      std::lock_guard lock(handles_mutex_);
      controls_[info.fh] = file;
    }
    if (fuse_reply_open(req, &info) != 0) release_control(info.fh);
  });
}

void Mount::create_control(fuse_req_t req, const Node& parent, const std::string& name,
                           fuse_file_info info) {
  if (parent.control != Control::kSeq && parent.control != Control::kEphemeral) {
    return static_cast<void>(fuse_reply_err(req, EACCES));
  }
  if (name.size() > tree::kMaxNameBytes) {
    return static_cast<void>(fuse_reply_err(req, ENAMETOOLONG));
  }
  if (!tree::is_valid_name(name) || name == kHidden) {
    return static_cast<void>(fuse_reply_err(req, EINVAL));
  }
  bool ephemeral = parent.control == Control::kEphemeral;
  const fuse_ctx* context = fuse_req_ctx(req);
  tree::AclList acl =
      acl_for_new(tree::Kind::kFile, 0644 & ~context->umask, context->uid, context->gid);
  info.direct_io = 1;
  when_writable(req, [this, req, parent, name, info, ephemeral, acl, pid = context->pid]() mutable {
    std::string path = tree::join_path(parent.path, name);
    int32_t flags = ephemeral ? tree::kCreateEphemeral : tree::kCreateSequential;
    auto created = [this, req, parent, name, info, ephemeral, pid](const Outcome& outcome) mutable {
      if (outcome.error != Error::kOk) {
        return static_cast<void>(fuse_reply_err(req, to_errno(outcome.error)));
      }
      auto file = std::make_shared<ControlFile>();
      file->control = ephemeral ? Control::kEphemeralFile : Control::kSeqFile;
      file->directory = parent.path;
      file->child = outcome.path;
      file->text = std::string(tree::base_name(outcome.path)) + "\n";
      file->ephemeral = ephemeral;
      file->session = tree::SessionId{outcome.stat.ephemeral_owner};
      file->pid = pid;
      if (ephemeral && file->session == session_.id()) {
        session_.hold();
      } else if (ephemeral) {
        file->lost = true;  // its session went while this answer was on its way
      }
      fuse_entry_param entry = {};
      info.fh = next_handle_++;
      {
        std::lock_guard lock(handles_mutex_);
        controls_[info.fh] = file;
      }
      bool filled = fill_control_entry(parent.path, file->control, name, entry);
      if (!filled || fuse_reply_create(req, &entry, &info) != 0) {
        if (!filled) fuse_reply_err(req, ENOENT);
        release_control(info.fh);
      }
    };
    commit(OpCode::kCreate2, tree::create_body(path, "", acl, flags), std::move(created));
  });
}

void Mount::release_control(uint64_t number) {
  ControlPtr file;
  {
    std::lock_guard lock(handles_mutex_);
    auto place = controls_.find(number);
    if (place == controls_.end()) return;
    file = place->second;
    controls_.erase(place);
  }
  for (fuse_req_t reader : std::exchange(file->readers, {})) fuse_reply_err(reader, EBADF);
  if (file->poll != nullptr) fuse_pollhandle_destroy(std::exchange(file->poll, nullptr));
  if (!file->ephemeral || file->lost) return;
  session_.submit_held(file->session, OpCode::kDelete,
                       tree::delete_body(file->child, tree::kAnyVersion),
                       [this, session = file->session](const Outcome&) {
                         if (session == session_.id()) session_.let_go();
                       });
}

// ---- reading

void Mount::read_control(fuse_req_t req, const ControlPtr& file, size_t size, off_t offset,
                         bool wait) {
  on_strand([this, req, file, size, offset, wait] {
    if (file->lost) return static_cast<void>(fuse_reply_err(req, ESTALE));
    if (file->control == Control::kNext && offset == 0) return read_next(req, file, size);
    if (file->control == Control::kWatch) {
      if (file->watch->has_line() || file->watch->at_end()) {
        std::string line = file->watch->read(size);
        return static_cast<void>(fuse_reply_buf(req, line.data(), line.size()));
      }
      if (!wait) return static_cast<void>(fuse_reply_err(req, EAGAIN));
      file->readers.push_back(req);
      fuse_req_interrupt_func(
          req,
          [](fuse_req_t interrupted, void* data) {
            auto* mount = static_cast<Mount*>(fuse_req_userdata(interrupted));
            auto* file_data = static_cast<ControlFile*>(data);
            mount->on_strand([mount, interrupted, file_data] {
              std::vector<ControlPtr> all;
              {
                std::lock_guard lock(mount->handles_mutex_);
                for (auto& [number, control] : mount->controls_) all.push_back(control);
              }
              for (const ControlPtr& control : all) {
                if (control.get() != file_data) continue;
                if (std::erase(control->readers, interrupted) > 0) {
                  fuse_reply_err(interrupted, EINTR);
                }
              }
            });
          },
          file.get());
      return;
    }
    if (offset == 0 && file->control == Control::kLock) {
      file->text = control_text(file->control, file->directory);
    }
    bool takes_data = !file->child.empty();
    size_t from = takes_data && offset != 0 ? file->read_at : static_cast<size_t>(offset);
    std::string part = file->text.substr(std::min(from, file->text.size()), size);
    file->read_at = from + part.size();
    fuse_reply_buf(req, part.data(), part.size());
  });
}

void Mount::feed_watch(const ControlPtr& file) {
  while (!file->readers.empty() && (file->watch->has_line() || file->watch->at_end())) {
    fuse_req_t reader = file->readers.front();
    file->readers.erase(file->readers.begin());
    std::string line = file->watch->read(size_t{128} << 10);
    fuse_reply_buf(reader, line.data(), line.size());
  }
  if (file->poll != nullptr) {
    fuse_pollhandle* poll = std::exchange(file->poll, nullptr);
    fuse_lowlevel_notify_poll(poll);
    fuse_pollhandle_destroy(poll);
  }
}

void Mount::poll(fuse_req_t req, const fuse_file_info* info, fuse_pollhandle* handle) {
  ControlPtr file = find_control(info);
  on_strand([req, file, handle] {
    constexpr unsigned kReady = 0x1 | 0x4;  // POLLIN | POLLOUT
    if (!file || !file->watch) {
      if (handle != nullptr) fuse_pollhandle_destroy(handle);
      return static_cast<void>(fuse_reply_poll(req, kReady));
    }
    if (handle != nullptr) {
      if (file->poll != nullptr) fuse_pollhandle_destroy(file->poll);
      file->poll = handle;
    }
    bool ready = file->watch->has_line() || file->watch->at_end();
    fuse_reply_poll(req, ready ? 0x1 : 0);
  });
}

// The next number is the version that a write without conditions gave the hidden znode: unique and
// rising. A new one starts at 1.
void Mount::increment_next(const std::string& directory, bool may_create, Completion done) {
  std::string hidden = tree::join_path(directory, kHidden);
  std::string path = tree::join_path(hidden, kNextChild);
  commit(OpCode::kSetData, tree::set_data_body(path, "", tree::kAnyVersion),
         [this, directory, hidden, path, may_create, done](const Outcome& outcome) {
           if (outcome.error != Error::kNoNode || !may_create) return done(outcome);
           tree::AclList directory_acl = acl_for_new(tree::Kind::kDirectory, 0755, 0, 0);
           tree::AclList file_acl = acl_for_new(tree::Kind::kFile, 0644, 0, 0);
           commit(OpCode::kCreate2,
                  tree::create_body(hidden, "", directory_acl, tree::kCreatePersistent),
                  [](const Outcome&) {});
           commit(OpCode::kCreate2, tree::create_body(path, "", file_acl, tree::kCreatePersistent),
                  [this, directory, done](const Outcome& created) {
                    if (created.error != Error::kOk && created.error != Error::kNodeExists) {
                      return done(created);
                    }
                    increment_next(directory, false, done);
                  });
         });
}

void Mount::read_next(fuse_req_t req, const ControlPtr& file, size_t size) {
  when_writable(req, [this, req, file, size] {
    increment_next(file->directory, true, [req, file, size](const Outcome& outcome) {
      if (outcome.error != Error::kOk) {
        return static_cast<void>(fuse_reply_err(req, to_errno(outcome.error)));
      }
      file->text = std::to_string(outcome.stat.version) + "\n";
      std::string part = file->text.substr(0, size);
      fuse_reply_buf(req, part.data(), part.size());
    });
  });
}

// ---- writing

void Mount::write_control(fuse_req_t req, const ControlPtr& file, const char* bytes, size_t size,
                          off_t offset) {
  bool takes_data = file->control == Control::kSeqFile || file->control == Control::kEphemeralFile;
  if (!takes_data) return static_cast<void>(fuse_reply_err(req, EINVAL));
  when_writable(req, [req, file, copy = std::string(bytes, size), offset] {
    if (file->lost) return static_cast<void>(fuse_reply_err(req, ESTALE));
    size_t at = offset == 0 ? 0 : file->written_at;
    if (at + copy.size() > tree::kMaxDataBytes) {
      return static_cast<void>(fuse_reply_err(req, EFBIG));
    }
    if (file->written.size() < at + copy.size()) file->written.resize(at + copy.size(), '\0');
    file->written.replace(at, copy.size(), copy);
    file->written_at = at + copy.size();
    file->dirty = true;
    fuse_reply_write(req, copy.size());
  });
}

void Mount::commit_control(const ControlPtr& file, std::function<void(int)> done) {
  if (file->lost) return done(ESTALE);
  if (!std::exchange(file->dirty, false)) return done(0);
  tree::ExtWrite write;
  write.path = file->child;
  write.data = file->written;
  commit(OpCode::kExtWrite, encode(write), [done](const Outcome& outcome) {
    done(outcome.error == Error::kNoNode ? ESTALE : to_errno(outcome.error));
  });
}

}  // namespace zabfs::fsd
