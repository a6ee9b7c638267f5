#include "fsd/wire/reads.h"

#include <utility>

#include "fsd/wire/messages.h"
#include "tree/access.h"
#include "tree/digests.h"
#include "tree/jute.h"
#include "tree/path.h"
#include "tree/snapshot.h"

namespace zabfs::fsd::wire {

using tree::Error;
using tree::OpCode;
using tree::WatcherType;
using tree::WatchMode;
using tree::ZNode;
using tree::jute::Reader;
using tree::jute::Writer;

namespace {

// Both are errors that clients know: the first says that asking again is no use, the second that
// the server had no room and did nothing.
constexpr Error kTooLong = Error::kBadArguments;
constexpr Error kNoRoom = Error::kThrottledOp;

constexpr size_t kExpectedNameBytes = 32;             // of a child, in a listing
constexpr size_t kLongReadBytes = size_t{256} << 10;  // of what is long to make, though it be short

bool is_part_of_multi_read(OpCode type) {
  return type == OpCode::kGetData || type == OpCode::kGetChildren;
}

size_t expected_bytes_of(const tree::Tree& tree, OpCode type, std::string_view path) {
  const ZNode* node = tree.find(path.empty() ? std::string_view("/") : path);
  if (node == nullptr) return 0;
  if (type == OpCode::kGetData) return node->data.view().size();
  return node->children.size() * kExpectedNameBytes;
}

// One read in the making. Each method reads its request and appends its answer's body; what was
// appended before an error is cut off again by the caller. What has no bound of its own stops as
// soon as the answer is too long.
class Read {
 public:
  Read(const ReadContext& context, std::string_view body, std::string& out, std::string& events)
      : c_(context), in_(body), out_(out), answer_(out), start_(out.size()), events_(events) {}

  Error run(OpCode type) {
    const Kind* kind = find(type);
    return kind == nullptr ? Error::kUnimplemented : kind->make(*this);
  }
  static bool is_one(OpCode type) { return find(type) != nullptr; }

 private:
  struct Kind {
    OpCode type;
    Error (*make)(Read& read);
  };
  static const Kind* find(OpCode type) {
    static constexpr Kind kKinds[] = {
        {OpCode::kPing, [](Read&) { return Error::kOk; }},
        {OpCode::kExists, [](Read& read) { return read.exists(); }},
        {OpCode::kGetData, [](Read& read) { return read.get_data(); }},
        {OpCode::kGetAcl, [](Read& read) { return read.get_acl(); }},
        {OpCode::kGetChildren, [](Read& read) { return read.get_children(false); }},
        {OpCode::kGetChildren2, [](Read& read) { return read.get_children(true); }},
        {OpCode::kMultiRead, [](Read& read) { return read.multi_read(); }},
        {OpCode::kCheckWatches, [](Read& read) { return read.check_watches(false); }},
        {OpCode::kRemoveWatches, [](Read& read) { return read.check_watches(true); }},
        {OpCode::kSetWatches, [](Read& read) { return read.set_watches(false); }},
        {OpCode::kSetWatches2, [](Read& read) { return read.set_watches(true); }},
        {OpCode::kAddWatch, [](Read& read) { return read.add_watch(); }},
        {OpCode::kGetEphemerals, [](Read& read) { return read.get_ephemerals(); }},
        {OpCode::kGetAllChildrenNumber, [](Read& read) { return read.get_all_children_number(); }},
        {OpCode::kWhoAmI, [](Read& read) { return read.who_am_i(); }},
    };
    for (const Kind& kind : kKinds) {
      if (kind.type == type) return &kind;
    }
    return nullptr;
  }

  bool is_too_long() const { return answer_.size() - start_ > kMaxAnswerBytes; }

  const ZNode* find(std::string_view path) const {
    return c_.tree.find(path.empty() ? std::string_view("/") : path);
  }
  bool allows(const ZNode& node, int32_t wanted) const {
    return c_.skip_acl || tree::acl_allows(c_.tree.acl_of(node), wanted, c_.identities);
  }

  bool may_reach(std::string_view path) const {
    return c_.skip_acl || tree::may_reach(c_.tree, path, c_.identities);
  }
  // Whether what is below a znode is for this client to count.
  bool may_look_into(const ZNode& node) const {
    return c_.skip_acl || !tree::user_of(c_.identities) ||
           (allows(node, tree::kPermRead) && tree::may_search(c_.tree.acl_of(node), c_.identities));
  }

  // A path that must be one: Java's server fails at null, and finds the root by an empty one.
  std::string_view path_here() {
    std::optional<std::string_view> path = in_.buffer();
    if (!path) in_.fail();
    return path.value_or(std::string_view());
  }

  // The znode that a request asks for, which must be there and readable.
  Error find_readable(std::string_view path, int32_t wanted, const ZNode*& node) const {
    if (!in_.ok()) return Error::kMarshallingError;
    if (!may_reach(path)) return Error::kNoAuth;
    node = find(path);
    if (node == nullptr) return Error::kNoNode;
    return allows(*node, wanted) ? Error::kOk : Error::kNoAuth;
  }

  void write_data(const ZNode& node) {
    if (node.data.is_null()) {
      out_.buffer(std::nullopt);
    } else {
      out_.buffer(node.data.view());
    }
  }

  void write_names(const ZNode& node) {
    out_.count(node.children.size());
    c_.tree.for_each_child(node, [this](const ZNode& child) {
      if (!is_too_long()) out_.string(child.name.view());
    });
  }

  template <class Add>
  Error watch(const Add& add) {
    return c_.watches.with(add) ? Error::kOk : kNoRoom;
  }
  Error watch_data(std::string_view path) {
    return watch([&](tree::WatchTables& tables) { return tables.add_data(c_.watcher, path); });
  }
  Error watch_children(std::string_view path) {
    return watch([&](tree::WatchTables& tables) { return tables.add_child(c_.watcher, path); });
  }

  Error exists() {
    std::string_view path = path_here();
    bool watch = in_.boolean();
    if (!in_.ok()) return Error::kMarshallingError;
    if (path.find('\0') != std::string_view::npos) return Error::kBadArguments;
    if (!may_reach(path)) return Error::kNoAuth;
    if (Error error = watch ? watch_data(path) : Error::kOk; error != Error::kOk) return error;
    const ZNode* node = find(path);
    if (node == nullptr) return Error::kNoNode;
    tree::write_stat(out_, c_.tree.stat_of(*node));
    return Error::kOk;
  }

  Error get_data() {
    std::string_view path = path_here();
    bool watch = in_.boolean();
    const ZNode* node = nullptr;
    if (Error error = find_readable(path, tree::kPermRead, node); error != Error::kOk) return error;
    if (Error error = watch ? watch_data(path) : Error::kOk; error != Error::kOk) return error;
    write_data(*node);
    tree::write_stat(out_, c_.tree.stat_of(*node));
    return Error::kOk;
  }

  // Without ADMIN, digests stay secret.
  Error get_acl() {
    std::string_view path = path_here();
    const ZNode* node = nullptr;
    Error error = find_readable(path, tree::kPermRead | tree::kPermAdmin, node);
    if (error != Error::kOk) return error;
    const tree::AclList& acl = c_.tree.acl_of(*node);
    tree::write_acl(out_, allows(*node, tree::kPermAdmin) ? acl : tree::without_digests(acl));
    tree::write_stat(out_, c_.tree.stat_of(*node));
    return Error::kOk;
  }

  Error get_children(bool with_stat) {
    std::string_view path = path_here();
    bool watch = in_.boolean();
    const ZNode* node = nullptr;
    if (Error error = find_readable(path, tree::kPermRead, node); error != Error::kOk) return error;
    // Nobody waits for news of what can't be answered.
    write_names(*node);
    if (is_too_long()) return kTooLong;
    if (with_stat) tree::write_stat(out_, c_.tree.stat_of(*node));
    return watch ? watch_children(path) : Error::kOk;
  }

  // Each read stands for itself; the watch flags are ignored (FORMATS.md 1.8). Data that
  // would be too long together are not even begun with.
  Error multi_read() {
    struct Part {
      OpCode type;
      Error error;
      const ZNode* node;
    };
    std::vector<Part> parts;
    size_t data_bytes = 0;
    while (true) {
      auto type = static_cast<OpCode>(in_.i32());
      bool done = in_.boolean();
      in_.i32();
      if (!in_.ok()) return Error::kMarshallingError;
      if (done) break;
      if (!is_part_of_multi_read(type)) return Error::kMarshallingError;
      std::string_view path = path_here();
      in_.boolean();
      const ZNode* node = nullptr;
      Error error = find_readable(path, tree::kPermRead, node);
      if (error == Error::kMarshallingError) return error;
      if (error == Error::kOk && type == OpCode::kGetData) data_bytes += node->data.view().size();
      if (data_bytes > kMaxAnswerBytes) return kTooLong;
      parts.push_back({error == Error::kOk ? type : OpCode::kError, error, node});
    }
    for (const Part& part : parts) {
      multi_header(part.type, false, static_cast<int32_t>(part.error));
      if (part.error != Error::kOk) {
        out_.i32(static_cast<int32_t>(part.error));
      } else if (part.type == OpCode::kGetData) {
        write_data(*part.node);
        tree::write_stat(out_, c_.tree.stat_of(*part.node));
      } else {
        write_names(*part.node);
      }
      if (is_too_long()) return kTooLong;
    }
    multi_header(OpCode::kError, true, -1);
    return Error::kOk;
  }

  void multi_header(OpCode type, bool done, int32_t error) {
    out_.i32(static_cast<int32_t>(type));
    out_.boolean(done);
    out_.i32(error);
  }

  Error check_watches(bool remove) {
    std::optional<std::string_view> given = in_.buffer();
    int32_t type = in_.i32();
    if (!in_.ok() || type < 1 || type > 3) return Error::kMarshallingError;
    if (!given && remove) return Error::kNoWatcher;
    std::string_view path = given.value_or(std::string_view());
    // As Java, which fails to walk up from such a path.
    bool has_slash = given && (path.empty() || path.find('/') != std::string_view::npos);
    if (!remove && !has_slash) return Error::kMarshallingError;
    bool found = c_.watches.with([&](tree::WatchTables& tables) {
      auto wanted = static_cast<WatcherType>(type);
      return remove ? tables.remove(c_.watcher, path, wanted) : tables.anyone(path, wanted);
    });
    return found ? Error::kOk : Error::kNoWatcher;
  }

  Error add_watch() {
    std::string_view path = path_here();
    int32_t mode = in_.i32();
    if (!in_.ok() || mode < 0 || mode > 1) return Error::kMarshallingError;
    out_.i32(0);
    return watch([&](tree::WatchTables& tables) {
      return tables.add(c_.watcher, path,
                        mode == 0 ? WatchMode::kPersistent : WatchMode::kPersistentRecursive);
    });
  }

  // Java counts a negative number of paths as none, and fails at a null list or path when it comes
  // to it: `is_whole` is false then, and `paths` are those before.
  struct Paths {
    std::vector<std::string_view> paths;
    bool is_whole = true;
  };
  Paths read_paths() {
    int32_t count = in_.i32();
    Paths read;
    read.is_whole = count != -1;
    for (int32_t i = 0; i < count && in_.ok(); ++i) {
      std::optional<std::string_view> path = in_.buffer();
      if (!path) read.is_whole = false;
      if (read.is_whole) read.paths.push_back(*path);
    }
    return read;
  }

  // A client's watches after a reconnect, as of the zxid it has seen: what has happened since is
  // told at once.
  Error set_watches(bool with_persistent) {
    tree::Zxid seen{in_.i64()};
    Paths data = read_paths(), exist = read_paths(), child = read_paths();
    Paths persistent, recursive;
    if (with_persistent) {
      persistent = read_paths();
      recursive = read_paths();
    }
    if (!in_.ok()) return Error::kMarshallingError;
    bool has_room = true;
    bool done = c_.watches.with([&](tree::WatchTables& tables) {
      auto each = [](const Paths& list, const auto& set) {
        for (std::string_view path : list.paths) set(path);
        return list.is_whole;
      };
      // Of what it can't reach, a client is told nothing.
      auto set_data = [&](std::string_view path) {
        const ZNode* node = find(path);
        if (!may_reach(path)) {
          has_room = has_room && tables.add_data(c_.watcher, path);
        } else if (node == nullptr) {
          append_event(events_, tree::EventType::kNodeDeleted, path);
        } else if (node->stat.mzxid > seen) {
          append_event(events_, tree::EventType::kNodeDataChanged, path);
        } else {
          has_room = has_room && tables.add_data(c_.watcher, path);
        }
      };
      auto set_exist = [&](std::string_view path) {
        if (find(path) != nullptr && may_reach(path)) {
          append_event(events_, tree::EventType::kNodeCreated, path);
        } else {
          has_room = has_room && tables.add_data(c_.watcher, path);
        }
      };
      auto set_child = [&](std::string_view path) {
        const ZNode* node = find(path);
        if (!may_reach(path)) {
          has_room = has_room && tables.add_child(c_.watcher, path);
        } else if (node == nullptr) {
          append_event(events_, tree::EventType::kNodeDeleted, path);
        } else if (node->stat.pzxid > seen) {
          append_event(events_, tree::EventType::kNodeChildrenChanged, path);
        } else {
          has_room = has_room && tables.add_child(c_.watcher, path);
        }
      };
      auto set_mode = [&](WatchMode mode) {
        return [&tables, &has_room, this, mode](std::string_view path) {
          has_room = has_room && tables.add(c_.watcher, path, mode);
        };
      };
      return each(data, set_data) && each(exist, set_exist) && each(child, set_child) &&
             each(persistent, set_mode(WatchMode::kPersistent)) &&
             each(recursive, set_mode(WatchMode::kPersistentRecursive));
    });
    if (!has_room) return kNoRoom;
    return done ? Error::kOk : Error::kMarshallingError;
  }

  Error get_ephemerals() {
    std::string_view prefix = in_.string();
    if (!in_.ok()) return Error::kMarshallingError;
    if (prefix == "/" || prefix.find_first_not_of(" \t") == std::string_view::npos) prefix = {};
    std::vector<std::string> paths;
    for (std::string& path : c_.tree.ephemerals_of(c_.session)) {
      if (path.starts_with(prefix)) paths.push_back(std::move(path));
    }
    out_.count(paths.size());
    for (const std::string& path : paths) {
      if (!is_too_long()) out_.string(path);
    }
    return is_too_long() ? kTooLong : Error::kOk;
  }

  Error get_all_children_number() {
    std::string_view path = path_here();
    const ZNode* node = nullptr;
    if (Error error = find_readable(path, tree::kPermRead, node); error != Error::kOk) return error;
    size_t total = 0;
    if (node == &c_.tree.root() && !tree::user_of(c_.identities)) {
      total = c_.tree.node_count() - (path.empty() ? 0 : 1);  // as Java counts what is below ""
    } else {
      std::vector<const ZNode*> left{node};
      while (!left.empty()) {
        const ZNode* next = left.back();
        left.pop_back();
        total += next->children.size();
        c_.tree.for_each_child(*next, [&](const ZNode& child) {
          if (child.children.size() > 0 && may_look_into(child)) left.push_back(&child);
        });
      }
    }
    out_.count(total);
    return Error::kOk;
  }

  Error who_am_i() {
    out_.count(c_.identities.size());
    for (const tree::Id& id : c_.identities) {
      out_.string(id.scheme);
      out_.string(id.scheme == "digest" ? id.id.substr(0, id.id.find(':')) : id.id);
    }
    return Error::kOk;
  }

  const ReadContext& c_;
  Reader in_;
  Writer out_;
  const std::string& answer_;  // what out_ writes to
  const size_t start_;         // of this answer's body
  std::string& events_;
};

}  // namespace

Error append_answer(const ReadContext& context, int32_t xid, OpCode type, std::string_view body,
                    std::string& out) {
  if (type == OpCode::kPing) xid = kPingXid;
  std::string events;
  size_t start = out.size();
  Error error = Error::kOk;
  {
    Frame frame(out);
    Writer writer(out);
    write_reply_header(writer, xid, context.tree.last_zxid(), Error::kOk);
    size_t header_end = out.size();
    error = Read(context, body, out, events).run(type);
    if (error != Error::kOk) {
      out.resize(header_end - sizeof(int32_t));
      writer.i32(static_cast<int32_t>(error));
    }
  }
  if (!events.empty()) out.insert(start, events);
  return error;
}

bool is_read(OpCode type) { return Read::is_one(type); }

size_t expected_answer_bytes(const tree::Tree& tree, OpCode type, std::string_view body) {
  Reader in(body);
  if (type == OpCode::kGetData || type == OpCode::kGetChildren || type == OpCode::kGetChildren2) {
    return expected_bytes_of(tree, type, in.string());
  }
  size_t bytes = is_long(type) ? kLongReadBytes : 0;
  while (type == OpCode::kMultiRead && bytes < kMaxAnswerBytes) {
    auto part = static_cast<OpCode>(in.i32());
    bool done = in.boolean();
    in.i32();
    if (!in.ok() || done || !is_part_of_multi_read(part)) break;
    bytes += expected_bytes_of(tree, part, in.string());
    in.boolean();
  }
  return bytes;
}

bool is_long(OpCode type) {
  return type == OpCode::kMultiRead || type == OpCode::kGetAllChildrenNumber ||
         type == OpCode::kGetEphemerals || type == OpCode::kSetWatches ||
         type == OpCode::kSetWatches2;
}

bool is_lost_without_watches(OpCode type, Error error) {
  return error == kNoRoom && (type == OpCode::kSetWatches || type == OpCode::kSetWatches2);
}

}  // namespace zabfs::fsd::wire
