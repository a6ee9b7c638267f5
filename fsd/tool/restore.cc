// zabfs restore and zabfs backup inspect: what becomes of a backup (fsd/backup).
//
// A restored ensemble is another one than the backup's: it has a number of its own, so that servers
// which still have the old ensemble's data are refused, and the members of its own zoo.cfg. Clients
// of the old one come with zxids that it never had. Java's servers refuse those for ever, and the
// client is stuck until somebody restarts it. Here the tree begins with a zxid of an epoch that is
// far above any that the old ensemble can have had, so the clients are told that their sessions
// have expired.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "consensus/protocol.h"
#include "fsd/archive/tree_source.h"
#include "fsd/backup/reader.h"
#include "fsd/backup/snapshot_source.h"
#include "fsd/beneath.h"
#include "fsd/history/when.h"
#include "fsd/migrate/new_data.h"
#include "fsd/progress.h"
#include "fsd/tool/tool.h"
#include "fsd/view/view.h"

namespace zabfs::tool {

namespace {

constexpr size_t kReadBytes = 256u << 10;
// An election makes one epoch. So many are not held between a backup and its restore, unless an
// ensemble had a leader for less than half an hour each, for a whole year: 17,520.
constexpr uint32_t kEpochsSince = 20'000;

// `-` is standard input. `progress` is null where nothing is shown.
StatusOr<backup::Backup> read_file_of(const std::string& path) {
  bool is_standard_input = path == "-";
  fsd::Descriptor opened(is_standard_input ? -1 : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!is_standard_input && !opened) {
    return Status::failed(fmt::format("{}: {}", path, std::strerror(errno)));
  }
  int fd = is_standard_input ? STDIN_FILENO : opened.get();
  struct stat found = {};
  bool has_size = ::fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
  fsd::Progress progress;
  progress.begin("reads " + path, has_size ? static_cast<uint64_t>(found.st_size) : 0);
  std::string room(kReadBytes, '\0');
  uint64_t bytes = 0;
  auto next = [&]() -> StatusOr<std::string_view> {
    ssize_t size = -1;
    do {
      size = ::read(fd, room.data(), room.size());
    } while (size < 0 && errno == EINTR);
    if (size < 0) return Status::failed(std::strerror(errno));
    progress.at(bytes += static_cast<uint64_t>(size));
    return std::string_view(room).substr(0, static_cast<size_t>(size));
  };
  StatusOr<backup::Backup> backup = backup::read_backup(next, backup::memory_bytes());
  progress.clear();
  return backup.ok() ? std::move(backup) : Status::failed(path + ": " + backup.why());
}

void describe(const backup::Backup& backup) {
  const backup::Header& header = backup.header;
  fmt::print("zxid 0x{:x}\nmade {}\nnode {}\nepoch {}\nserving {}\nversion {}\n", header.zxid.value,
             fsd::time_text(header.time_ms), header.node, header.epoch,
             header.is_serving ? "yes" : "no", header.version);
  for (const std::string& member : header.members) fmt::print("member {}\n", member);
  fmt::print(
      "{} znodes, {} bytes of data, {} containers, {} with a TTL; left out: {} sessions, {} "
      "ephemerals\n",
      backup.counts.znodes, backup.counts.data_bytes, backup.tree->containers().size(),
      backup.tree->ttl_nodes().size(), backup.counts.sessions, backup.counts.ephemerals);
}

// As `ls -l` has it.
std::string mode_text(const fsd::View& view) {
  mode_t mode = fsd::stat_of(view).st_mode;
  std::string text = "-rwxrwxrwx";
  for (size_t i = 1; i < text.size(); ++i) {
    if ((mode & 0400u >> (i - 1)) == 0) text[i] = '-';
  }
  if (S_ISDIR(mode)) text[0] = 'd';
  if (S_ISLNK(mode)) text[0] = 'l';
  if ((mode & S_ISGID) != 0) text[6] = text[6] == 'x' ? 's' : 'S';
  if ((mode & S_ISVTX) != 0) text[9] = text[9] == 'x' ? 't' : 'T';
  return text;
}

std::string shown_path(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < ' ' || c == '\x7f') c = '?';
  }
  return text;
}

void print_znode(const tree::Tree& tree, const tree::ZNode& node, const std::string& path) {
  fsd::View view = fsd::view_of(tree, node, path, {});
  std::string lasts;
  if (tree::owner_kind(node.stat.owner) == tree::OwnerKind::kContainer) lasts = " (container)";
  if (tree::owner_kind(node.stat.owner) == tree::OwnerKind::kTtl) {
    lasts = fmt::format(" (TTL {} ms)", tree::owner_ttl_ms(node.stat.owner));
  }
  fmt::print("{} {:5} {:5} {:8} {} {}{}\n", mode_text(view), view.uid, view.gid, node.data.size(),
             fsd::time_text(node.stat.mtime_ms), shown_path(path), lasts);
}

void list(const tree::Tree& tree) {
  std::vector<const tree::ZNode*> left{&tree.root()};
  while (!left.empty()) {
    const tree::ZNode* node = left.back();
    left.pop_back();
    print_znode(tree, *node, tree.path_of(*node));
    auto first = static_cast<std::ptrdiff_t>(left.size());
    tree.for_each_child(*node, [&left](const tree::ZNode& child) { left.push_back(&child); });
    std::sort(left.begin() + first, left.end(), [](const auto* one, const auto* other) {
      return one->name.view() > other->name.view();
    });
  }
}

// Any but 0, which is none.
uint32_t epoch_after(const backup::Header& header) {
  uint32_t highest = std::max(header.epoch, header.zxid.epoch());
  return highest < consensus::kMaxEpoch - kEpochsSince ? highest + kEpochsSince : highest;
}

// Into a running ensemble, as an import: by as few commits as it fits in.
int restore_subtree(const RestoreOptions& options) {
  StatusOr<backup::Backup> backup = read_file_of(options.file);
  if (!backup.ok()) return fail(backup.why());
  const tree::ZNode* top = backup->tree->find(options.subtree);
  if (top == nullptr) {
    return fail(fmt::format("{} has no {}; `zabfs backup inspect --list {}` lists what it has",
                            options.file, options.subtree, options.file));
  }
  if (fsd::view_of(*backup->tree, *top, options.subtree, {}).kind != tree::Kind::kDirectory) {
    return fail(fmt::format("{} is no directory in the backup: name the one that it is in",
                            options.subtree));
  }
  ImportTreeOptions import;
  import.source = options.file;
  import.directory = options.to;
  import.removes_others = options.removes_others;
  import.dry_run = options.dry_run;
  archive::TreeSource source(*backup->tree, options.subtree);
  int code = import_tree(import, &source);
  if (source.left_out() == 0) return code;
  return fail(
      fmt::format("{} entries can't be files, and were left out: sockets, symlinks that "
                  "lead nowhere, or names of more than {} bytes",
                  source.left_out(), tree::kMaxNameBytes));
}

}  // namespace

int inspect_backup(const std::string& file, bool with_list) {
  StatusOr<backup::Backup> backup = read_file_of(file);
  if (!backup.ok()) return fail(backup.why());
  if (with_list) {
    list(*backup->tree);
  } else {
    describe(*backup);
    fmt::print("all is well\n");
  }
  return 0;
}

int restore(const RestoreOptions& options) {
  if (!options.subtree.empty()) return restore_subtree(options);
  if (is_in_mount(options.to)) {
    return fail(fmt::format("{} is in a mount: name what of the backup is to be there, as "
                            "--subtree /team; or name a dataDir",
                            options.to),
                kUsage);
  }
  std::optional<tree::ServerId> server = migrate::server_number_in({options.to});
  if (options.server) server = tree::ServerId{*options.server};
  if (!server) {
    return fail(fmt::format("myid in {} holds no number: mend it, or give --server", options.to));
  }
  StatusOr<backup::Backup> backup = read_file_of(options.file);
  if (!backup.ok()) return fail(backup.why());
  describe(*backup);
  consensus::WholeHistory history;
  history.tree = std::move(backup->tree);
  history.tree->set_configuration("");  // the members are those of the new zoo.cfg
  history.current_epoch = history.accepted_epoch = epoch_after(backup->header);
  // As if that epoch had made one txn: so clients are let in from the start, and not only once
  // somebody has written.
  history.tree->note_epoch(tree::Zxid::make(history.current_epoch, 1));
  history.ensemble = migrate::new_ensemble();
  fsd::Progress progress;
  Status status = migrate::write_new_data({options.to, options.to_log, *server}, history, progress);
  if (!status.ok()) return fail(status.why());
  fmt::print(
      "wrote {0}/zabfs, for server {1} of a new ensemble. Next:\n"
      "1. the zoo.cfg of each server names the new members; server {1} has dataDir={0}\n"
      "2. the others have an empty dataDir. So many of them as are a majority together with server "
      "{1}, "
      "and no more, have an empty file `initialize` in it: one of three servers, two of five. With "
      "more they could begin without the backup\n"
      "3. start zabfsd on all of them; once a majority is there, they have what is in the backup\n",
      options.to, server->value);
  return 0;
}

}  // namespace zabfs::tool
