#include "fsd/history/past_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <set>
#include <utility>

#include "consensus/log_reader.h"
#include "fsd/history/access.h"
#include "fsd/history/moves.h"
#include "fsd/history/replay_past.h"
#include "fsd/history/when.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"
#include "tree/txn.h"

namespace zabfs::fsd {

using tree::Zxid;

namespace {

What what_of(tree::ChangeType type) {
  switch (type) {
    case tree::ChangeType::kCreated:
      return What::kCreated;
    case tree::ChangeType::kDeleted:
      return What::kRemoved;
    case tree::ChangeType::kDataChanged:
      return What::kChanged;
    case tree::ChangeType::kAclChanged:
      return What::kAcl;
  }
  return What::kChanged;
}

// The same as is_listed, of what is gone.
bool was_listed(const tree::Change& deleted) {
  std::string_view name = tree::base_name(deleted.path);
  return name != kHidden && !is_unlisted(name, deleted.before.view());
}

// Whether he could list what a name was in.
bool could_know(const Above& above, const Caller& caller) {
  return may(above->back(), caller, kMayRead) && could_reach(above, caller);
}

// Gathers the versions of a directory's children.
class Children {
 public:
  Children(const std::string& directory, const ViewOptions& options, DirectoryPast& past)
      : directory_(directory), options_(options), past_(past) {
    for (const auto& [name, versions] : past_.children) {
      for (const FileVersion& version : versions) add_bytes(name, version.data.size());
      count_ += versions.size();
    }
  }

  // What came before is known.
  void resume(const tree::Tree& tree) { above_ = above_of(tree, below(), options_, above_); }

  void begins(const tree::Tree& tree) {
    above_ = above_of(tree, below(), options_, above_);
    const tree::ZNode* node = tree.find(directory_);
    if (node == nullptr) return;
    tree.for_each_child(*node, [&](const tree::ZNode& child) {
      if (!is_listed(child)) return;
      FileVersion version;
      version.zxid = child.stat.mzxid;
      version.time_ms = child.stat.mtime_ms;
      describe(tree, child, version);
      std::vector<FileVersion>& versions = past_.children[std::string(child.name.view())];
      if (!versions.empty() && is_same(versions.back(), version)) return;
      if (!versions.empty() && versions.back().zxid >= version.zxid)
        version.zxid = tree.last_zxid();
      add(std::string(child.name.view()), std::move(version));
    });
  }

  void before(const tree::Txn& txn, const tree::Tree& tree) { moves_.before(txn, tree); }

  void after(const tree::Txn& txn, const std::vector<tree::Change>& changes,
             const tree::Tree& tree) {
    moves_.after(changes, tree);
    std::map<std::string, const tree::Change*> touched;  // the last change of each
    bool moves_above = false;
    for (const tree::Change& change : changes) {
      moves_above = moves_above || tree::is_within(directory_, change.path);
      if (change.path != "/" && tree::parent_path(change.path) == directory_) {
        touched[std::string(tree::base_name(change.path))] = &change;
      }
    }
    if (moves_above && tree.find(directory_) != nullptr) move_above(tree);
    for (const auto& [name, change] : touched) changed(txn, name, *change, tree);
  }

 private:
  std::string below() const { return tree::join_path(directory_, "x"); }

  static bool is_same(const FileVersion& a, const FileVersion& b) {
    return a.what != What::kRemoved && a.view.ino == b.view.ino && a.view.mode == b.view.mode &&
           a.view.uid == b.view.uid && a.view.gid == b.view.gid && a.view.mtime == b.view.mtime &&
           a.view.size == b.view.size;
  }

  // What is the newest version counts as it may be reached at last.
  void move_above(const tree::Tree& tree) {
    Above now = above_of(tree, below(), options_, above_);
    if (now == above_) return;
    above_ = std::move(now);
    for (auto& [name, versions] : past_.children) {
      if (!versions.empty() && versions.back().what != What::kRemoved) {
        versions.back().above = above_;
      }
    }
  }

  void describe(const tree::Tree& tree, const tree::ZNode& node, FileVersion& version) const {
    version.view = view_of(tree, node, tree::join_path(directory_, node.name.view()), options_);
    version.data = node.data;
    version.above = above_;
  }

  void changed(const tree::Txn& txn, const std::string& name, const tree::Change& change,
               const tree::Tree& tree) {
    FileVersion version;
    version.zxid = txn.header.zxid;
    version.time_ms = txn.header.time_ms;
    version.who = who_of(txn);
    const tree::ZNode* node = tree.find(change.path);
    auto known = past_.children.find(name);
    bool was_there = known != past_.children.end() && !known->second.empty() &&
                     known->second.back().what != What::kRemoved;
    if (node == nullptr) {
      if (!was_listed(change) || !was_there) return;  // made and removed at once, or never shown
      version.what = What::kRemoved;
      version.view = known->second.back().view;
      version.view.kind = tree::Kind::kFile;
      version.view.size = 0;
      version.above = above_;
      version.to = moves_.to(change.path);
    } else {
      if (!is_listed(*node)) return;
      version.what = was_there ? what_of(change.type) : What::kCreated;
      if (was_there && version.what == What::kCreated) version.what = What::kChanged;
      describe(tree, *node, version);
      version.from = moves_.from(change.path);
    }
    add(name, std::move(version));
  }

  void add(const std::string& name, FileVersion version) {
    std::vector<FileVersion>& versions = past_.children[name];
    add_bytes(name, version.data.size());
    versions.push_back(std::move(version));
    if (++count_ > PastReader::kMaxVersions) drop_versions();
    if (bytes_ > PastReader::kMaxDataBytes) drop_data();
  }

  void add_bytes(const std::string& name, size_t bytes) {
    bytes_ += bytes;
    bytes_of_[name] += bytes;
  }

  void drop_versions() {
    auto most = std::max_element(
        past_.children.begin(), past_.children.end(),
        [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
    auto end = most->second.begin() + static_cast<ptrdiff_t>((most->second.size() + 1) / 2);
    for (auto at = most->second.begin(); at != end; ++at) {
      bytes_ -= at->data.size();
      bytes_of_[most->first] -= at->data.size();
    }
    count_ -= static_cast<size_t>(end - most->second.begin());
    most->second.erase(most->second.begin(), end);
    past_.left_out = true;
  }

  void drop_data() {
    while (bytes_ > PastReader::kMaxDataBytes / 8 * 7) {
      auto most =
          std::max_element(bytes_of_.begin(), bytes_of_.end(),
                           [](const auto& a, const auto& b) { return a.second < b.second; });
      for (FileVersion& version : past_.children[most->first]) {
        if (version.data.size() == 0) continue;
        bytes_ -= version.data.size();
        most->second -= version.data.size();
        version.data = tree::Bytes();
        version.has_data = false;
        break;
      }
    }
  }

  const std::string& directory_;
  const ViewOptions& options_;
  DirectoryPast& past_;
  Moves moves_{options_};
  Above above_ = std::make_shared<const std::vector<View>>();
  size_t count_ = 0, bytes_ = 0;
  std::map<std::string, size_t> bytes_of_;
};

}  // namespace

StatusOr<PastReader::TreePtr> PastReader::tree_at(Zxid zxid, Zxid committed) {
  if (zxid > committed) {
    return Status::failed(
        fmt::format("0x{:x} is to come: this node is at 0x{:x}", zxid.value, committed.value));
  }
  std::vector<Zxid> starts = consensus::SnapshotStore(snapshots_).list();  // newest first
  std::erase_if(starts, [zxid](Zxid stored) { return stored > zxid; });
  starts.push_back(Zxid{});
  std::string why;
  for (Zxid start : starts) {
    bool is_cancelled = false;
    ReplayPast::Listener listener;
    listener.before = [&](const tree::Txn& txn, const tree::Tree&) {
      is_cancelled = is_cancelled_();
      return txn.header.zxid <= zxid && !is_cancelled;
    };
    ReplayPast replay(log_, snapshots_, std::move(listener));  // with a gap there is no tree
    replay.begin_at(start);
    TreePtr tree = replay.run(committed);
    if (is_cancelled) return Status::failed("it was cancelled");
    if (tree) return tree;
    if (why.empty()) why = replay.why();
  }
  return why == ReplayPast::kNotSoFar ? too_old(committed) : Status::failed(why);
}

Status PastReader::too_old(Zxid committed) {
  std::vector<Zxid> stored = consensus::SnapshotStore(snapshots_).list();  // newest first
  Zxid first;
  int64_t time_ms = 0;
  bool is_whole = false;
  consensus::CommittedLogVisitor visitor;
  visitor.begin = [&](Zxid base) {
    is_whole = base == Zxid{};
    return true;
  };
  visitor.gap = [](const std::string&, Zxid) { return true; };
  // A log that does not begin with the empty tree says something from its first snapshot on.
  visitor.txn = [&](Zxid zxid, std::string_view bytes) {
    if (!is_whole && !stored.empty() && zxid <= stored.back()) return !is_cancelled_();
    std::optional<tree::TxnHeader> header = tree::decode_txn_header(bytes);
    first = zxid;
    if (header) time_ms = header->time_ms;
    return false;
  };
  consensus::read_committed(log_, Zxid{}, committed, visitor);
  if (first == Zxid{}) return Status::failed(ReplayPast::kNotSoFar);
  return Status::failed(
      fmt::format("the log of this node goes back to 0x{:x}, which was made {}. The key "
                  "zabfs.history says how long it is kept; another node may have more",
                  first.value, time_text(time_ms)));
}

StatusOr<Zxid> PastReader::zxid_at(int64_t time_ms, Zxid committed) {
  // The last segment that begins before that time, as its first txn says.
  Zxid from;
  bool is_older = false;
  for (const consensus::LogSegment& segment : consensus::list_log_segments(log_)) {
    Zxid base;
    std::optional<int64_t> first_ms;
    consensus::LogHandlers handlers;
    handlers.first_segment = [&](const consensus::log_format::SegmentHeader& header) {
      base = header.last_zxid;
    };
    handlers.record = [&](const consensus::FoundRecord& found, size_t) {
      if (found.header.type != consensus::log_format::RecordType::kTxn) {
        return consensus::Taken::kYes;
      }
      if (auto header = tree::decode_txn_header(found.body)) first_ms = header->time_ms;
      return consensus::Taken::kEnough;
    };
    consensus::read_log(log_, handlers, consensus::kLogPrefix, segment.number);
    if (!first_ms) continue;
    if (*first_ms > time_ms) break;
    from = base;
    is_older = true;
  }
  if (!is_older) return too_old(committed);
  Zxid found;
  consensus::CommittedLogVisitor visitor;
  visitor.begin = [](Zxid) { return true; };
  visitor.gap = [](const std::string&, Zxid) { return true; };
  visitor.txn = [&](Zxid zxid, std::string_view bytes) {
    std::optional<tree::TxnHeader> header = tree::decode_txn_header(bytes);
    if (header && header->time_ms > time_ms) return false;
    found = zxid;
    return !is_cancelled_();
  };
  consensus::read_committed(log_, from, committed, visitor);
  if (found == Zxid{}) return too_old(committed);
  return found;
}

Status PastReader::read_children(const std::string& directory, Zxid committed, DirectoryPast& past,
                                 TreePtr& tree) {
  if (past.through == Zxid{}) return read_children_from(directory, committed, past, tree, Zxid{});
  // From the tree at hand, or the nearest snapshot: up to `past.through` all is known.
  if (tree && tree->last_zxid() <= past.through) {
    return read_children_from(directory, committed, past, tree, Zxid{});
  }
  tree.reset();
  for (Zxid start : consensus::SnapshotStore(snapshots_).list()) {
    if (start > past.through) continue;
    DirectoryPast more = past;
    Status status = read_children_from(directory, committed, more, tree, start);
    if (!status.ok()) return status;
    if (!tree) break;
    past = std::move(more);
    return status;
  }
  past = DirectoryPast();
  return read_children_from(directory, committed, past, tree, Zxid{});
}

// `start`: with that snapshot; zero: with `tree`, or from the beginning.
Status PastReader::read_children_from(const std::string& directory, Zxid committed,
                                      DirectoryPast& past, TreePtr& tree, Zxid start) {
  const Zxid known = past.through;
  Children children(directory, options_, past);
  bool is_cancelled = false, has_gap = false;
  ReplayPast::Listener listener;
  listener.begins = [&](const tree::Tree& now) {
    bool goes_on = known != Zxid{} && !has_gap;
    if (goes_on) return children.resume(now);
    children.begins(now);
  };
  listener.before = [&](const tree::Txn& txn, const tree::Tree& now) {
    is_cancelled = is_cancelled_();
    if (txn.header.zxid > known) children.before(txn, now);
    return txn.header.zxid <= committed && !is_cancelled;
  };
  listener.after = [&](const tree::Txn& txn, const std::vector<tree::Change>& changes,
                       const tree::Tree& now) {
    if (txn.header.zxid > known) return children.after(txn, changes, now);
    children.resume(now);
  };
  listener.gap = [&](Zxid at, const std::string& why) {
    has_gap = true;
    if (at >= known) past.gaps.push_back({at, why});
  };
  ReplayPast replay(log_, snapshots_, std::move(listener));
  if (tree) {
    children.resume(*tree);
    replay.begin_with(std::move(tree));
  } else if (start != Zxid{}) {
    replay.begin_at(start);
  }
  tree = replay.run(committed);
  if (is_cancelled) return Status::failed("it was cancelled");
  if (known == Zxid{}) past.since = replay.since();
  past.through = tree ? tree->last_zxid() : committed;
  return {};
}

StatusOr<tree::Bytes> PastReader::data_of(const std::string& path, Zxid version, Zxid committed) {
  std::optional<tree::Bytes> data;
  auto look = [&](const tree::Tree& tree) {
    const tree::ZNode* node = tree.find(path);
    bool is_it = node != nullptr && (node->stat.mzxid == version || tree.last_zxid() == version);
    if (is_it) data = node->data;
  };
  ReplayPast::Listener listener;
  listener.begins = look;
  listener.before = [&](const tree::Txn&, const tree::Tree&) { return !data && !is_cancelled_(); };
  listener.after = [&](const tree::Txn& txn, const std::vector<tree::Change>& changes,
                       const tree::Tree& now) {
    bool touches = std::any_of(changes.begin(), changes.end(),
                               [&](const tree::Change& change) { return change.path == path; });
    if (touches && txn.header.zxid == version) look(now);
  };
  ReplayPast replay(log_, snapshots_, std::move(listener));
  replay.run(committed);
  if (!data) return Status::failed("the log does not have it any more");
  return *data;
}

Status PastReader::read_below(const std::string& directory, const Caller& caller, Zxid committed,
                              SubtreePast& past) {
  std::deque<ChangeBelow> changes;
  bool is_cancelled = false;
  ReplayPast::Listener listener;
  Moves moves(options_);
  std::deque<MoveBelow> told_moves;
  listener.before = [&](const tree::Txn& txn, const tree::Tree& now) {
    moves.before(txn, now);
    return !(is_cancelled = is_cancelled_());
  };
  listener.after = [&](const tree::Txn& txn, const std::vector<tree::Change>& all,
                       const tree::Tree& now) {
    std::map<std::string, const tree::Change*> touched;
    std::set<std::string> made;
    for (const tree::Change& change : all) {
      if (!tree::is_within(change.path, directory)) continue;
      if (is_hidden(change.path)) continue;
      if (change.type == tree::ChangeType::kCreated && !touched.contains(change.path)) {
        made.insert(change.path);
      }
      touched[change.path] = &change;
    }
    for (const auto& [path, change] : touched) {
      const tree::ZNode* node = now.find(path);
      if (node == nullptr && (made.contains(path) || !was_listed(*change))) continue;
      if (node != nullptr && path != "/" && !is_listed(*node)) continue;
      Above above = above_of(now, path, options_);
      bool could_list = path == directory || may(above->back(), caller, kMayRead);
      if (!could_list || !could_reach(above, caller)) continue;
      ChangeBelow line{txn.header.zxid,
                       txn.header.time_ms,
                       who_of(txn),
                       node == nullptr ? What::kRemoved : what_of(change->type),
                       {},
                       path};
      if (node != nullptr) line.view = view_of(now, *node, path, options_);
      if (node != nullptr && change->type == tree::ChangeType::kCreated && !made.contains(path)) {
        line.what = What::kChanged;
      }
      if (node != nullptr && made.contains(path)) line.what = What::kCreated;
      changes.push_back(std::move(line));
      if (changes.size() <= kMaxChanges) continue;
      changes.pop_front();
      past.left_out = true;
    }
    moves.after(all, now);
    for (Moves::Move& move : moves.topmost()) {
      // With a directory above.
      if (directory != "/" && tree::is_within(directory, move.to)) {
        move.from += directory.substr(move.to.size());
        move.to = directory;
      }
      bool touches = tree::is_within(move.from, directory) || tree::is_within(move.to, directory);
      if (!touches || !could_know(move.above_from, caller) || !could_know(move.above_to, caller)) {
        continue;
      }
      told_moves.push_back({txn.header.zxid, std::move(move.from), std::move(move.to)});
    }
    auto is_too_old = [&](const MoveBelow& move) {
      return told_moves.size() > kMaxChanges ||
             (!changes.empty() && move.zxid < changes.front().zxid);
    };
    while (!told_moves.empty() && is_too_old(told_moves.front())) told_moves.pop_front();
  };
  listener.gap = [&](Zxid at, const std::string& why) { past.gaps.push_back({at, why}); };
  ReplayPast replay(log_, snapshots_, std::move(listener));
  replay.run(committed);
  if (is_cancelled) return Status::failed("it was cancelled");
  past.since = replay.since();
  past.changes.assign(std::make_move_iterator(changes.begin()),
                      std::make_move_iterator(changes.end()));
  past.moves.assign(std::make_move_iterator(told_moves.begin()),
                    std::make_move_iterator(told_moves.end()));
  return {};
}

}  // namespace zabfs::fsd
