#include "fsd/fuse/past_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>

#include "fsd/fuse/callers.h"
#include "fsd/fuse/xattrs.h"
#include "fsd/history/access.h"
#include "fsd/history/when.h"
#include "fsd/view/contenders.h"
#include "fsd/view/control.h"
#include "tree/path.h"

namespace zabfs::fsd {

namespace {

constexpr std::string_view kCurrent = "current";

// `ZXID/below` of a node of `@/at`.
struct Point {
  tree::Zxid zxid;
  std::string path;
};

Point point_of(const Node& node) {
  Point point;
  size_t slash = node.name.find('/');
  std::string_view zxid = std::string_view(node.name).substr(0, slash);
  std::from_chars(zxid.data() + 2, zxid.data() + zxid.size(), point.zxid.value, 16);
  point.path = node.path;
  if (slash != std::string::npos)
    point.path = tree::join_path(node.path, node.name.substr(slash + 1));
  return point;
}

constexpr std::string_view kWhy = "why.";

// `@/at/WHEN.export`: all of WHEN as one stream.
constexpr std::string_view kExport = ".export";
bool is_export(const Node& node) {
  return node.control == Control::kPast && node.name.ends_with(kExport) &&
         node.name.find('/') == std::string::npos;
}

// `NAME/VERSION` of a node of `@/history`.
std::string child_of(const Node& node) { return node.name.substr(0, node.name.find('/')); }
std::string version_of(const Node& node) { return node.name.substr(node.name.find('/') + 1); }

// No other file has it: programs take files of one number for the same.
ino_t number_of(tree::Zxid zxid, const std::string& path) {
  return tree::inode_number(tree::Zxid{~zxid.value}, path + "/@/past");
}

Node child_node(const Node& parent, Control control, std::string name) {
  Node node;
  node.control = control;
  node.path = parent.path;
  node.czxid = parent.czxid;
  node.name = std::move(name);
  return node;
}

std::string or_dash(const std::string& text) { return text.empty() ? "-" : text; }

std::string who_text(const Who& who) {
  std::string node = who.node ? std::to_string(*who.node) : "-";
  std::string session = who.session == tree::SessionId{}
                            ? "-"
                            : fmt::format("0x{:x}", static_cast<uint64_t>(who.session.value));
  std::string user = who.uid ? std::to_string(*who.uid) : "";
  if (!user.empty() && !who.user.empty()) user += ',';
  return fmt::format("{} {} {} {} {}", node, session, or_dash(user + who.user), or_dash(who.client),
                     or_dash(who.program));
}

// As `name`, or `../other/name`, which is right below any mount point.
std::string path_from(const std::string& directory, const std::string& path) {
  if (path == directory) return ".";
  if (directory == "/") return path.substr(1);
  if (tree::is_within(path, directory)) return path.substr(directory.size() + 1);
  return std::filesystem::path(path).lexically_relative(directory).string();
}

std::string look_text(const ChangeBelow& change) {
  if (change.what == What::kRemoved) return "- - - -";
  const View& view = change.view;
  return fmt::format("{:04o} {} {} {}", view.mode, view.uid, view.gid, view.size);
}

}  // namespace

// Why something of the past can't be shown is for the log: an errno does not say it.
int PastFiles::missing(const std::string& what, const Status& status) {
  if (status.why() == Past::kTooMany) return EAGAIN;
  service_.log_limited(consensus::LogLevel::kInfo,
                       fmt::format("no past of {}: {}", what, status.why()));
  return ENOENT;
}

// ---- what a node shows

void PastFiles::show(const Node& node, const Caller& caller, const ShownAnswer& answer) {
  if (node.control == Control::kPast) return show_past(node, caller, answer);
  if (version_of(node) == kCurrent) return show_current(node, answer);
  show_version(node, caller, answer);
}

int PastFiles::fill(const tree::Tree& then, tree::Zxid zxid, const std::string& path,
                    const Caller& caller, Shown& shown) const {
  const tree::ZNode* node = then.find(path);
  if (node == nullptr || (path != "/" && !is_listed(*node))) return ENOENT;
  Above above = above_of(then, path, options_);
  View view = view_of(then, *node, path, options_);
  bool is_seen = now([&](const tree::Tree& tree) {
    shown.may_read = may(view, caller, kMayRead) && may_read_now(tree, path, caller, options_);
    return may_see(above, tree, path, caller, options_);
  });
  if (!is_seen) return EACCES;
  shown.st = stat_of(view);
  shown.st.st_ino = number_of(zxid, path);
  shown.path = path;
  shown.data = node->data;
  if (view.kind == tree::Kind::kSymlink) shown.target = node->data.view();
  return 0;
}

void PastFiles::show_past(const Node& node, const Caller& caller, const ShownAnswer& answer) {
  Point point = point_of(node);
  bool as_stream = is_export(node);
  past_.tree_at(point.zxid,
                [this, point, as_stream, caller, answer](const StatusOr<Past::TreePtr>& then) {
                  Shown shown;
                  if (!then.ok()) return answer(missing(point.path, then.status()), shown);
                  int error = fill(**then, point.zxid, point.path, caller, shown);
                  if (error == 0 && as_stream) {
                    shown.st.st_mode = S_IFREG | (shown.st.st_mode & 0444);
                    shown.st.st_size = 0;
                    shown.st.st_ino = number_of(point.zxid, point.path + std::string(kExport));
                  }
                  answer(error, shown);
                });
}

PastFiles::Shown PastFiles::shown_version(const FileVersion& version,
                                          const std::string& path) const {
  Shown shown;
  shown.path = path;
  shown.version = std::make_shared<const FileVersion>(version);
  View view = version.view;
  bool is_directory = view.kind == tree::Kind::kDirectory;
  view.mtime = {version.time_ms / 1'000, static_cast<int32_t>(version.time_ms % 1'000) * 1'000'000};
  view.ctime = view.mtime;
  if (is_directory) {  // all of it is in @/at
    view.kind = tree::Kind::kSymlink;
    view.mode = 0777;
    shown.target = fmt::format("../../at/0x{:x}/{}", version.zxid.value, tree::base_name(path));
    view.size = shown.target.size();
  } else if (view.kind == tree::Kind::kSymlink) {
    shown.target = version.data.view();
  }
  shown.data = version.data;
  shown.has_data = version.has_data;
  shown.st = stat_of(view);
  shown.st.st_ino = number_of(version.zxid, path);
  return shown;
}

void PastFiles::show_version(const Node& node, const Caller& caller, const ShownAnswer& answer) {
  std::string child = child_of(node), wanted = version_of(node);
  std::string path = tree::join_path(node.path, child);
  auto find = [child, wanted](const DirectoryPast& past) -> const FileVersion* {
    auto found = past.children.find(child);
    if (found == past.children.end()) return nullptr;
    auto is_it = [&](const FileVersion& version) { return version.name() == wanted; };
    auto at = std::find_if(found->second.begin(), found->second.end(), is_it);
    return at == found->second.end() ? nullptr : &*at;
  };
  auto is_enough = [this, find, directory = node.path, child](const DirectoryPast& past) {
    return find(past) != nullptr || is_fresh(past, directory, child);
  };
  past_.children(node.path, is_enough,
                 [this, find, path, caller, answer](const StatusOr<Past::DirectoryPtr>& past) {
                   Shown shown;
                   if (!past.ok()) return answer(missing(path, past.status()), shown);
                   const FileVersion* version = find(**past);
                   if (version == nullptr) return answer(ENOENT, shown);
                   bool is_seen = now([&](const tree::Tree& tree) {
                     return may_see(version->above, tree, path, caller, options_);
                   });
                   if (!is_seen) return answer(EACCES, shown);
                   shown = shown_version(*version, path);
                   shown.may_read = now([&](const tree::Tree& tree) {
                     return may_read(*version, tree, path, caller, options_);
                   });
                   answer(0, shown);
                 });
}

void PastFiles::show_current(const Node& node, const ShownAnswer& answer) {
  Shown shown;
  std::string child = child_of(node);
  shown.path = tree::join_path(node.path, child);
  bool is_there = now([&](const tree::Tree& tree) { return tree.find(shown.path) != nullptr; });
  View view;
  view.kind = tree::Kind::kSymlink;
  view.mode = 0777;
  shown.target = "../../../" + child;
  view.size = shown.target.size();
  shown.st = stat_of(view);
  shown.st.st_ino = number_of(tree::Zxid{}, shown.path);
  answer(is_there ? 0 : ENOENT, shown);
}

// ---- versions

std::vector<const FileVersion*> PastFiles::seen_versions(const DirectoryPast& past,
                                                         const Node& name,
                                                         const Caller& caller) const {
  std::vector<const FileVersion*> seen;
  auto found = past.children.find(name.name);
  if (found == past.children.end()) return seen;
  std::string path = tree::join_path(name.path, name.name);
  now([&](const tree::Tree& tree) {
    const FileVersion* before = nullptr;  // most have the same above them
    bool is_seen = false;
    for (const FileVersion& version : found->second) {
      bool is_new = before == nullptr || before->above != version.above;
      if (is_new) is_seen = may_see(version.above, tree, path, caller, options_);
      if (is_seen) seen.push_back(&version);
      before = &version;
    }
  });
  return seen;
}

// Whether all that the tree has of that child, or of the names of all of them, is in there.
bool PastFiles::is_fresh(const DirectoryPast& past, const std::string& directory,
                         const std::string& name) const {
  return now([&](const tree::Tree& tree) {
    const tree::ZNode* parent = tree.find(directory);
    if (parent == nullptr) return true;
    if (name.empty()) return parent->stat.pzxid <= past.through;
    const tree::ZNode* node = tree.child(*parent, name);
    auto versions = past.children.find(name);
    bool has_any = versions != past.children.end() && !versions->second.empty();
    if (node == nullptr) {
      return parent->stat.pzxid <= past.through ||
             (has_any && versions->second.back().what == What::kRemoved);
    }
    if (!is_listed(*node)) return true;
    if (node->stat.mzxid > past.through || !has_any) return past.through >= tree.last_zxid();
    View shown = view_of(tree, *node, tree::join_path(directory, name), options_);
    const View& last = versions->second.back().view;
    bool is_same = shown.mode == last.mode && shown.uid == last.uid && shown.gid == last.gid;
    return is_same || past.through >= tree.last_zxid();
  });
}

void PastFiles::children(const std::string& directory, const std::string& name,
                         Past::Answer<Past::DirectoryPtr> answer) {
  past_.children(
      directory,
      [this, directory, name](const DirectoryPast& past) {
        return is_fresh(past, directory, name);
      },
      std::move(answer));
}

// ---- names and attributes

void PastFiles::reply_entry(const RequestPtr& request, const Node& node, const Shown& shown) {
  fuse_entry_param entry = {};
  entry.attr = shown.st;
  entry.ino = nodes_.look_up_control(node.path, node.czxid, node.control, node.name);
  request->reply_entry(entry);
}

void PastFiles::look_up(const RequestPtr& request, const Node& parent, const std::string& name) {
  if (name.size() > tree::kMaxNameBytes) return static_cast<void>(request->reply(ENAMETOOLONG));
  if (parent.control == Control::kHistory) return look_up_name(request, parent, name);
  if (parent.control == Control::kAt) return look_up_when(request, parent, name);
  Control control = parent.control == Control::kPast ? Control::kPast : Control::kVersion;
  Node node = child_node(parent, control, parent.name + "/" + name);
  show(node, caller_of(*request), [this, request, node](int error, const Shown& shown) {
    if (error != 0) return static_cast<void>(request->reply(error));
    reply_entry(request, node, shown);
  });
}

// A child that is there, or was.
void PastFiles::look_up_name(const RequestPtr& request, const Node& parent,
                             const std::string& name) {
  if (name == kHidden) return static_cast<void>(request->reply(ENOENT));
  auto found = [this, request, parent, name] {
    fuse_entry_param entry = {};
    bool filled = answers_.fill_control_entry(parent, Control::kHistoryName, name, entry);
    static_cast<void>(filled ? request->reply_entry(entry) : request->reply(ENOENT));
  };
  bool is_there = now([&](const tree::Tree& tree) {
    const tree::ZNode* node = tree.find(tree::join_path(parent.path, name));
    return node != nullptr && is_listed(*node);
  });
  if (is_there) return found();
  children(parent.path, name,
           [this, request, name, found, node = child_node(parent, Control::kHistoryName, name),
            caller = caller_of(*request)](const StatusOr<Past::DirectoryPtr>& past) {
             if (!past.ok()) return static_cast<void>(request->reply(missing(name, past.status())));
             if (seen_versions(**past, node, caller).empty())
               return static_cast<void>(request->reply(ENOENT));
             found();
           });
}

void PastFiles::look_up_when(const RequestPtr& request, const Node& parent,
                             const std::string& name) {
  std::string_view kind = name.ends_with(kExport) ? kExport : "";
  std::string when = name.substr(0, name.size() - kind.size());
  past_.resolve(when, [this, request, parent, name, kind,
                       caller = caller_of(*request)](const StatusOr<tree::Zxid>& zxid) {
    if (!zxid.ok())
      return static_cast<void>(request->reply(missing("@/at/" + name, zxid.status())));
    Node node = child_node(parent, Control::kPast, fmt::format("0x{:x}{}", zxid->value, kind));
    show_past(node, caller, [this, request, node](int error, const Shown& shown) {
      if (error != 0) return static_cast<void>(request->reply(error));
      reply_entry(request, node, shown);
    });
  });
}

void PastFiles::attributes(const RequestPtr& request, const Node& node) {
  if (node.control != Control::kPast && node.control != Control::kVersion) {
    return answers_.reply_attributes(request, node.id, false);
  }
  show(node, caller_of(*request), [request](int error, const Shown& shown) {
    static_cast<void>(error != 0 ? request->reply(error) : request->reply_attributes(shown.st, 0));
  });
}

void PastFiles::link(const RequestPtr& request, const Node& node) {
  show(node, caller_of(*request), [request](int error, const Shown& shown) {
    if (error == 0 && !S_ISLNK(shown.st.st_mode)) error = EINVAL;
    static_cast<void>(error != 0 ? request->reply(error) : request->reply_link(shown.target));
  });
}

std::string PastFiles::end_text(const std::shared_ptr<const Moved>& end,
                                const std::string& directory, const Caller& caller) const {
  bool may_know = end && now([&](const tree::Tree& tree) {
                    return may_see(end->above, tree, end->path, caller, options_);
                  });
  return may_know ? path_from(directory, end->path) : "";
}

void PastFiles::reply_why(const RequestPtr& request, const Node& at, const std::string& when,
                          size_t size) {
  auto told = [request, size](const std::string& text) { reply_value(request, text, size); };
  past_.resolve(when, [this, path = at.path, told, request,
                       caller = caller_of(*request)](const StatusOr<tree::Zxid>& zxid) {
    if (!zxid.ok()) return told(zxid.why());
    past_.tree_at(*zxid, [this, zxid = *zxid, path, told, request,
                          caller](const StatusOr<Past::TreePtr>& then) {
      if (!then.ok()) return told(then.why());
      Shown shown;
      int error = fill(**then, zxid, path, caller, shown);
      if (error == EACCES) return static_cast<void>(request->reply(error));
      told(error == 0 ? "ok" : path + " was not there at that time");
    });
  });
}

void PastFiles::attribute(const RequestPtr& request, const Node& node, const std::string& name,
                          size_t size) {
  if (node.control == Control::kAt && name.starts_with(kWhy)) {
    return reply_why(request, node, name.substr(kWhy.size()), size);
  }
  if (node.control != Control::kVersion || version_of(node) == kCurrent) {
    return static_cast<void>(request->reply(ENODATA));
  }
  Caller caller = caller_of(*request);
  show(node, caller, [this, request, node, caller, name, size](int error, const Shown& shown) {
    if (error != 0) return static_cast<void>(request->reply(error));
    const FileVersion& version = *shown.version;
    std::string value;
    if (name == "zxid") value = fmt::format("0x{:x}", version.zxid.value);
    if (name == "time") value = time_text(version.time_ms);
    if (name == "what") value = name_of(version.what);
    if (name == "from") value = end_text(version.from, node.path, caller);
    if (name == "to") value = end_text(version.to, node.path, caller);
    if (name == "who") {
      value = who_text(shown.may_read ? version.who : without_names(version.who));
    }
    if (value.empty()) return static_cast<void>(request->reply(ENODATA));
    reply_value(request, value, size);
  });
}

// ---- contents

void PastFiles::opened(const RequestPtr& request, fuse_file_info info, File file) {
  info.fh = numbers_.next();
  info.noflush = 1;
  files_.add(info.fh, std::make_shared<File>(std::move(file)));
  if (request->reply_opened(info) != 0) files_.take(info.fh);
}

void PastFiles::open(const RequestPtr& request, const Node& node, fuse_file_info info) {
  if ((wanted_by(info.flags) & kMayWrite) != 0) return static_cast<void>(request->reply(EROFS));
  if (node.control == Control::kChanges) return open_changes(request, node, info);
  if (is_export(node)) return open_export(request, node, info);
  show(node, caller_of(*request), [this, request, info](int error, const Shown& shown) {
    if (error == 0 && !shown.may_read) error = EACCES;
    if (error != 0) return static_cast<void>(request->reply(error));
    fuse_file_info answer = info;
    answer.keep_cache = 1;  // it never changes
    if (shown.has_data) return opened(request, answer, File{{}, shown.data});
    past_.data_of(shown.path, shown.version->zxid,
                  [this, request, answer, path = shown.path](const StatusOr<tree::Bytes>& data) {
                    if (!data.ok()) {
                      return static_cast<void>(request->reply(missing(path, data.status())));
                    }
                    opened(request, answer, File{{}, *data});
                  });
  });
}

bool PastFiles::read(const RequestPtr& request, uint64_t handle, size_t size, off_t offset) {
  std::shared_ptr<File> file = files_.find(handle);
  if (!file) return false;
  auto from = static_cast<size_t>(std::max<off_t>(offset, 0));
  if (file->subtree) {
    request->reply_bytes(file->subtree->read(from, size));
  } else {
    std::string_view bytes = file->bytes();
    request->reply_bytes(bytes.substr(std::min(from, bytes.size()), size));
  }
  return true;
}

void PastFiles::open_export(const RequestPtr& request, const Node& node, fuse_file_info info) {
  int exports = ++*exports_;
  auto turn = std::shared_ptr<void>(nullptr, [exports = exports_](void*) { --*exports; });
  if (exports > kMaxExports) return static_cast<void>(request->reply(EAGAIN));
  info.direct_io = 1;
  Point point = point_of(node);
  Caller caller = caller_of(*request);
  past_.tree_at(
      point.zxid, [this, request, info, point, caller, turn](const StatusOr<Past::TreePtr>& then) {
        Shown shown;
        int error = then.ok() ? fill(**then, point.zxid, point.path, caller, shown)
                              : missing(point.path, then.status());
        if (error == 0 && !shown.may_read) error = EACCES;
        if (error != 0) return static_cast<void>(request->reply(error));
        auto may_read_now = [this, caller](const std::string& path) {
          return now([&](const tree::Tree& tree) {
            return zabfs::fsd::may_read_now(tree, path, caller, options_);
          });
        };
        auto subtree =
            std::make_shared<const Subtree>(**then, options_, caller, point.path, 0, may_read_now);
        if (subtree->is_too_large()) return static_cast<void>(request->reply(EFBIG));
        opened(request, info, File{{}, {}, std::move(subtree), turn});
      });
}

void PastFiles::open_changes(const RequestPtr& request, const Node& node, fuse_file_info info) {
  info.direct_io = 1;
  Caller caller = caller_of(*request);
  past_.below(
      node.path, caller,
      [this, request, info, directory = node.path, caller](const StatusOr<SubtreePast>& past) {
        if (!past.ok()) {
          return static_cast<void>(request->reply(missing(directory, past.status())));
        }
        opened(request, info, File{changes_text(*past, directory, caller), {}});
      });
}

std::string PastFiles::changes_text(const SubtreePast& past, const std::string& directory,
                                    const Caller& caller) const {
  std::map<std::string, bool> may_list;  // by directory
  auto may_tell = [&](const std::string& path) {
    if (path == directory) return true;
    std::string parent(tree::parent_path(path));
    auto [found, is_new] = may_list.try_emplace(parent, false);
    if (is_new) {
      found->second = now([&](const tree::Tree& tree) {
        return may_read_now(tree, parent, caller, options_) &&
               may_reach_now(tree, path, caller, options_);
      });
    }
    return found->second;
  };
  // As with the contents of a version. Of what is gone, who may list its directory may know all.
  auto may_name = [&](const ChangeBelow& change) {
    return change.what == What::kRemoved ||
           (may(change.view, caller, kMayRead) && now([&](const tree::Tree& tree) {
              return may_read_now(tree, change.path, caller, options_);
            }));
  };
  std::string text = fmt::format("since 0x{:x}{}\n", past.since.value,
                                 past.left_out ? " (older changes are left out)" : "");
  auto gap = past.gaps.begin();
  auto move = past.moves.begin();
  for (const ChangeBelow& change : past.changes) {
    for (; gap != past.gaps.end() && gap->at < change.zxid; ++gap) {
      text += fmt::format("0x{:x} gap {}\n", gap->at.value, gap->why);
    }
    for (; move != past.moves.end() && move->zxid <= change.zxid; ++move) {
      if (!may_tell(move->from) || !may_tell(move->to)) continue;
      text += fmt::format("0x{:x} moved {}\t{}\n", move->zxid.value,
                          path_from(directory, move->from), path_from(directory, move->to));
    }
    if (!may_tell(change.path)) continue;
    std::string name = path_from(directory, change.path);
    Who who = may_name(change) ? change.who : without_names(change.who);
    text += fmt::format("0x{:x} {} {} {} {} {}\n", change.zxid.value, time_text(change.time_ms),
                        name_of(change.what), who_text(who), look_text(change), name);
  }
  for (; gap != past.gaps.end(); ++gap) {
    text += fmt::format("0x{:x} gap {}\n", gap->at.value, gap->why);
  }
  return text;
}

// ---- listings

void PastFiles::listed(const RequestPtr& request, fuse_file_info info, Names names) {
  std::erase_if(names, [](const auto& name) { return name.first.size() > kMaxListedNameBytes; });
  auto listing = std::make_shared<Listing>();
  listing->names = {{".", S_IFDIR}, {"..", S_IFDIR}};
  std::sort(names.begin(), names.end());
  listing->names.insert(listing->names.end(), names.begin(), names.end());
  info.fh = numbers_.next();
  listings_.add(info.fh, std::move(listing));
  if (request->reply_opened(info) != 0) listings_.take(info.fh);
}

void PastFiles::open_directory(const RequestPtr& request, const Node& node, fuse_file_info info) {
  if (node.control == Control::kHistory) return list_names(request, node, info);
  if (node.control == Control::kHistoryName) return list_versions(request, node, info);
  if (node.control == Control::kPast) return list_past(request, node, info);
  listed(request, info, {});  // of points of time there are too many
}

void PastFiles::add_seen_names(const DirectoryPast& past, const std::string& directory,
                               const Caller& caller, std::set<std::string>& names) const {
  Node child;
  child.path = directory;
  for (const auto& [name, versions] : past.children) {
    child.name = name;
    if (!seen_versions(past, child, caller).empty()) names.insert(name);
  }
}

void PastFiles::list_names(const RequestPtr& request, const Node& node, fuse_file_info info) {
  Caller caller = caller_of(*request);
  children(node.path, "",
           [this, request, info, directory = node.path,
            caller](const StatusOr<Past::DirectoryPtr>& past) {
             std::set<std::string> found;
             now([&](const tree::Tree& tree) {
               const tree::ZNode* parent = tree.find(directory);
               if (parent == nullptr) return;
               tree.for_each_child(*parent, [&](const tree::ZNode& child) {
                 if (is_listed(child)) found.emplace(child.name.view());
               });
             });
             if (!past.ok()) missing(directory, past.status());
             if (past.ok()) add_seen_names(**past, directory, caller, found);
             Names names;
             for (const std::string& name : found) names.emplace_back(name, S_IFDIR);
             listed(request, info, std::move(names));
           });
}

void PastFiles::list_versions(const RequestPtr& request, const Node& node, fuse_file_info info) {
  children(
      node.path, node.name,
      [this, request, info, node,
       caller = caller_of(*request)](const StatusOr<Past::DirectoryPtr>& past) {
        Names names;
        std::string path = tree::join_path(node.path, node.name);
        bool is_there = now([&](const tree::Tree& tree) { return tree.find(path) != nullptr; });
        if (is_there) names.emplace_back(kCurrent, S_IFLNK);
        if (!past.ok()) {
          return static_cast<void>(request->reply(missing(path, past.status())));
        }
        for (const FileVersion* version : seen_versions(**past, node, caller)) {
          names.emplace_back(version->name(), shown_version(*version, path).st.st_mode & S_IFMT);
        }
        listed(request, info, std::move(names));
      });
}

void PastFiles::list_past(const RequestPtr& request, const Node& node, fuse_file_info info) {
  Point point = point_of(node);
  Caller caller = caller_of(*request);
  past_.tree_at(point.zxid,
                [this, request, info, point, caller](const StatusOr<Past::TreePtr>& then) {
                  Shown shown;
                  int error = then.ok() ? fill(**then, point.zxid, point.path, caller, shown)
                                        : missing(point.path, then.status());
                  if (error == 0 && !shown.may_read) error = EACCES;
                  if (error != 0) return static_cast<void>(request->reply(error));
                  Names names;
                  const tree::Tree& tree = **then;
                  tree.for_each_child(*tree.find(point.path), [&](const tree::ZNode& child) {
                    if (!is_listed(child)) return;
                    std::string name(child.name.view());
                    View view = view_of(tree, child, tree::join_path(point.path, name), options_);
                    names.emplace_back(name, stat_of(view).st_mode & S_IFMT);
                  });
                  listed(request, info, std::move(names));
                });
}

bool PastFiles::read_directory(const RequestPtr& request, uint64_t handle, size_t size,
                               off_t offset) {
  std::shared_ptr<Listing> listing = listings_.find(handle);
  if (!listing) return false;
  std::string buffer(size, '\0');
  size_t used = 0;
  for (auto n = static_cast<size_t>(std::max<off_t>(offset, 0)); n < listing->names.size(); ++n) {
    const auto& [name, mode] = listing->names[n];
    size_t need = fuse_add_direntry(nullptr, nullptr, 0, name.c_str(), nullptr, 0);
    if (used + need > size) break;
    struct stat st = {};
    st.st_mode = mode;
    st.st_ino = n + 1;
    fuse_add_direntry(nullptr, buffer.data() + used, size - used, name.c_str(), &st,
                      static_cast<off_t>(n + 1));
    used += need;
  }
  request->reply_bytes({buffer.data(), used});
  return true;
}

}  // namespace zabfs::fsd
