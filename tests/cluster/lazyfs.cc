// A filesystem that forgets what was not synced when its power fails, to run zabfsd's data on.
//
//   lazyfs MOUNTPOINT [--seed N] [--lose all|some] [--ignore-sync]
//
// It lives in memory and outlives the daemons that are killed on it. Removing the file
// `.power-fails` at its root is the power failure: of each file all that was not fsynced goes, or
// (`some`) any subset of the writes survives, torn at sectors; of each directory the names that
// were not fsynced go, or a prefix of the changes survives. With --ignore-sync it is a disk that
// lies.
#include <fuse3/fuse.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t kSectorBytes = 512;
constexpr const char* kPowerFails = "/.power-fails";

struct Inode;
using Names = std::map<std::string, std::shared_ptr<Inode>>;

struct Change {  // of a file's content; one without bytes cuts it to `offset`
  uint64_t offset;
  std::string bytes;
  void apply(std::string& image) const {
    if (bytes.empty() || image.size() < offset + bytes.size()) image.resize(offset + bytes.size());
    image.replace(offset, bytes.size(), bytes);
  }
};

struct Inode {
  bool is_directory = false;
  mode_t mode = 0;
  uid_t uid = 0;
  gid_t gid = 0;
  timespec mtime{};
  uint64_t number = 0;
  std::string current, durable;
  std::vector<Change> unsynced;
  Names names, durable_names;
  std::vector<Names> unsynced_names;  // after each change
};
using InodePtr = std::shared_ptr<Inode>;

std::mt19937_64 randomness;
bool loses_all = true;
bool ignores_sync = false;
uint64_t next_number = 1;
InodePtr root;

InodePtr make_inode(bool is_directory, mode_t mode) {
  auto inode = std::make_shared<Inode>();
  inode->is_directory = is_directory;
  inode->mode = mode;
  inode->number = next_number++;
  if (const fuse_context* context = fuse_get_context()) {
    inode->uid = context->uid;
    inode->gid = context->gid;
  }
  clock_gettime(CLOCK_REALTIME, &inode->mtime);
  return inode;
}

InodePtr find(std::string_view path) {
  InodePtr at = root;
  while (at && !path.empty()) {
    path.remove_prefix(1);
    size_t end = std::min(path.find('/'), path.size());
    if (end > 0) {
      auto place = at->names.find(std::string(path.substr(0, end)));
      at = place == at->names.end() ? nullptr : place->second;
    }
    path.remove_prefix(end);
  }
  return at;
}

// The directory that a path's last name is in, and that name.
InodePtr parent_of(const std::string& path, std::string& name) {
  size_t slash = path.rfind('/');
  name = path.substr(slash + 1);
  return find(path.substr(0, slash));
}

void changed(Inode& directory) { directory.unsynced_names.push_back(directory.names); }

void lose_power(Inode& inode) {
  for (const Change& change : inode.unsynced) {
    uint64_t fate = loses_all ? 0 : randomness() % 3;
    if (fate == 1 || (fate == 2 && change.bytes.empty())) change.apply(inode.durable);
    if (fate != 2) continue;
    for (size_t at = 0; at < change.bytes.size(); at += kSectorBytes) {
      if (randomness() % 2 == 0) continue;
      Change{change.offset + at, change.bytes.substr(at, kSectorBytes)}.apply(inode.durable);
    }
  }
  inode.unsynced.clear();
  inode.current = inode.durable;
  size_t kept = loses_all ? 0 : randomness() % (inode.unsynced_names.size() + 1);
  if (kept > 0) inode.durable_names = inode.unsynced_names[kept - 1];
  inode.unsynced_names.clear();
  inode.names = inode.durable_names;
  for (const auto& [name, child] : inode.names) lose_power(*child);
}

void fill_stat(const Inode& inode, struct stat* st) {
  *st = {};
  st->st_ino = inode.number;
  st->st_mode = inode.mode | (inode.is_directory ? S_IFDIR : S_IFREG);
  st->st_nlink = 1;
  st->st_uid = inode.uid;
  st->st_gid = inode.gid;
  st->st_size = static_cast<off_t>(inode.current.size());
  st->st_blocks = (st->st_size + 511) / 512;
  st->st_mtim = st->st_ctim = st->st_atim = inode.mtime;
}

// ---- operations

InodePtr& inode_of(const fuse_file_info* info) { return *reinterpret_cast<InodePtr*>(info->fh); }

void keep_open(fuse_file_info* info, const InodePtr& inode) {
  info->fh = reinterpret_cast<uint64_t>(new InodePtr(inode));
}

void* on_init(fuse_conn_info*, fuse_config* config) {
  config->direct_io = 1;
  config->hard_remove = 1;
  config->use_ino = 1;
  config->entry_timeout = config->attr_timeout = config->negative_timeout = 0;
  return nullptr;
}

int on_getattr(const char* path, struct stat* st, fuse_file_info* info) {
  InodePtr inode = info != nullptr ? inode_of(info) : find(path);
  if (!inode) return -ENOENT;
  fill_stat(*inode, st);
  return 0;
}

int on_readdir(const char* path, void* buffer, fuse_fill_dir_t fill, off_t, fuse_file_info*,
               fuse_readdir_flags) {
  InodePtr directory = find(path);
  if (!directory) return -ENOENT;
  for (const char* name : {".", ".."}) fill(buffer, name, nullptr, 0, fuse_fill_dir_flags{});
  for (const auto& [name, inode] : directory->names) {
    fill(buffer, name.c_str(), nullptr, 0, fuse_fill_dir_flags{});
  }
  return 0;
}

int make(const char* path, bool is_directory, mode_t mode, InodePtr* made = nullptr) {
  std::string name;
  InodePtr parent = parent_of(path, name);
  if (!parent) return -ENOENT;
  if (parent->names.contains(name)) return -EEXIST;
  InodePtr inode = make_inode(is_directory, mode & 07777);
  parent->names[name] = inode;
  changed(*parent);
  if (made != nullptr) *made = inode;
  return 0;
}

int on_mkdir(const char* path, mode_t mode) { return make(path, true, mode); }

int on_create(const char* path, mode_t mode, fuse_file_info* info) {
  InodePtr made;
  int result = make(path, false, mode, &made);
  if (result == 0) keep_open(info, made);
  return result;
}

int cut(Inode& inode, uint64_t size) {
  inode.unsynced.push_back({size, ""});
  inode.current.resize(size);
  return 0;
}

int on_open(const char* path, fuse_file_info* info) {
  InodePtr inode = find(path);
  if (!inode) return -ENOENT;
  if ((info->flags & O_TRUNC) != 0) cut(*inode, 0);
  keep_open(info, inode);
  return 0;
}

int on_release(const char*, fuse_file_info* info) {
  delete &inode_of(info);
  return 0;
}

int on_read(const char*, char* buffer, size_t size, off_t offset, fuse_file_info* info) {
  const std::string& content = inode_of(info)->current;
  auto from = static_cast<size_t>(offset);
  if (from >= content.size()) return 0;
  return static_cast<int>(content.copy(buffer, size, from));
}

int on_write(const char*, const char* bytes, size_t size, off_t offset, fuse_file_info* info) {
  Inode& inode = *inode_of(info);
  inode.unsynced.push_back({static_cast<uint64_t>(offset), std::string(bytes, size)});
  inode.unsynced.back().apply(inode.current);
  clock_gettime(CLOCK_REALTIME, &inode.mtime);
  return static_cast<int>(size);
}

int on_truncate(const char* path, off_t size, fuse_file_info* info) {
  InodePtr inode = info != nullptr ? inode_of(info) : find(path);
  return inode ? cut(*inode, static_cast<uint64_t>(size)) : -ENOENT;
}

int on_fsync(const char*, int, fuse_file_info* info) {
  if (ignores_sync) return 0;
  Inode& inode = *inode_of(info);
  for (const Change& change : inode.unsynced) change.apply(inode.durable);
  inode.unsynced.clear();
  return 0;
}

int on_fsyncdir(const char* path, int, fuse_file_info*) {
  InodePtr directory = find(path);
  if (!directory) return -ENOENT;
  if (ignores_sync) return 0;
  directory->durable_names = directory->names;
  directory->unsynced_names.clear();
  return 0;
}

int on_unlink(const char* path) {
  if (std::strcmp(path, kPowerFails) == 0) {
    lose_power(*root);
    return 0;
  }
  std::string name;
  InodePtr parent = parent_of(path, name);
  if (!parent || parent->names.erase(name) == 0) return -ENOENT;
  changed(*parent);
  return 0;
}

int on_rmdir(const char* path) {
  InodePtr directory = find(path);
  if (directory && !directory->names.empty()) return -ENOTEMPTY;
  return on_unlink(path);
}

int on_rename(const char* from, const char* to, unsigned flags) {
  if (flags != 0) return -EINVAL;
  std::string from_name, to_name;
  InodePtr from_parent = parent_of(from, from_name), to_parent = parent_of(to, to_name);
  if (!from_parent || !to_parent || !from_parent->names.contains(from_name)) return -ENOENT;
  InodePtr inode = from_parent->names[from_name];
  from_parent->names.erase(from_name);
  to_parent->names[to_name] = inode;
  if (from_parent != to_parent) changed(*from_parent);
  changed(*to_parent);
  return 0;
}

int on_chmod(const char* path, mode_t mode, fuse_file_info*) {
  InodePtr inode = find(path);
  if (!inode) return -ENOENT;
  inode->mode = mode & 07777;
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: lazyfs MOUNTPOINT [--seed N] [--lose all|some] [--ignore-sync]\n");
    return 2;
  }
  for (int i = 2; i < argc; ++i) {
    std::string_view argument = argv[i];
    if (argument == "--ignore-sync") {
      ignores_sync = true;
    } else if (argument == "--seed" && i + 1 < argc) {
      randomness.seed(std::strtoull(argv[++i], nullptr, 10));
    } else if (argument == "--lose" && i + 1 < argc) {
      loses_all = std::string_view(argv[++i]) != "some";
    } else {
      std::fprintf(stderr, "lazyfs: unknown argument %s\n", argv[i]);
      return 2;
    }
  }
  root = make_inode(true, 0755);
  auto marker = make_inode(false, 0600);
  root->names[kPowerFails + 1] = root->durable_names[kPowerFails + 1] = marker;
  fuse_operations operations{};
  operations.init = on_init;
  operations.getattr = on_getattr;
  operations.readdir = on_readdir;
  operations.mkdir = on_mkdir;
  operations.create = on_create;
  operations.open = on_open;
  operations.release = on_release;
  operations.read = on_read;
  operations.write = on_write;
  operations.truncate = on_truncate;
  operations.fsync = on_fsync;
  operations.fsyncdir = on_fsyncdir;
  operations.unlink = on_unlink;
  operations.rmdir = on_rmdir;
  operations.rename = on_rename;
  operations.chmod = on_chmod;
  char foreground[] = "-f", single[] = "-s", option[] = "-o", named[] = "fsname=lazyfs,allow_other";
  char* arguments[] = {argv[0], foreground, single, option, named, argv[1], nullptr};
  return fuse_main(6, arguments, &operations, nullptr);
}
