#include "fsd/audit/operations.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "tree/jute.h"
#include "tree/prepare_decode.h"
#include "tree/request.h"

namespace zabfs::fsd::audit {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kMultiHeadBytes = 9;  // its type, whether it is the end, an error

constexpr const char* kCreate = "create";
constexpr const char* kDelete = "delete";
constexpr const char* kSetData = "setData";
constexpr const char* kSetAcl = "setAcl";

// Java: CreateMode, in small letters; empty: there is none of that number.
const char* create_mode(int32_t flags) {
  static constexpr const char* kModes[] = {
      "persistent", "ephemeral",           "persistent_sequential",         "ephemeral_sequential",
      "container",  "persistent_with_ttl", "persistent_sequential_with_ttl"};
  bool is_known = flags >= 0 && static_cast<size_t>(flags) < std::size(kModes);
  return is_known ? kModes[flags] : "";
}

// One line: the text of an ACL has one for each entry.
std::string acl_of(tree::jute::Reader& in) {
  std::string text = tree::acl_text(tree::read_acl(in));
  std::erase(text, '\n');
  return text;
}

Event create_event(std::string_view body) {
  tree::jute::Reader in(body);
  Event event;
  event.operation = kCreate;
  event.znode = in.string();
  in.buffer();
  tree::read_acl(in);
  int32_t flags = in.i32();
  if (in.ok()) event.znode_type = create_mode(flags);
  return event;
}

Event event_on(const char* operation, std::string_view body) {
  tree::jute::Reader in(body);
  Event event;
  event.operation = operation;
  event.znode = in.string();
  return event;
}

Event set_acl_event(std::string_view body) {
  tree::jute::Reader in(body);
  Event event;
  event.operation = kSetAcl;
  event.znode = in.string();
  event.acl = acl_of(in);
  return event;
}

// Of the operations that ZooKeeper has, in a multi or alone.
std::optional<Event> zookeeper_event(OpCode type, std::string_view body) {
  if (type == OpCode::kCreate || type == OpCode::kCreate2 || type == OpCode::kCreateContainer ||
      type == OpCode::kCreateTtl) {
    return create_event(body);
  }
  if (type == OpCode::kDelete) return event_on(kDelete, body);
  if (type == OpCode::kSetData) return event_on(kSetData, body);
  if (type == OpCode::kSetAcl) return set_acl_event(body);
  return std::nullopt;
}

// What changed of mode, owner and group; empty: neither.
std::string posix_text(const tree::PosixChange& change) {
  std::string text;
  if (change.mode) text += fmt::format("mode:{:04o} ", *change.mode);
  if (change.uid) text += fmt::format("uid:{} ", *change.uid);
  if (change.gid) text += fmt::format("gid:{} ", *change.gid);
  if (!text.empty()) text.pop_back();
  return text;
}

void add(std::vector<Event>& events, const char* operation, const std::string& path,
         std::string acl = {}) {
  Event event;
  event.operation = operation;
  event.znode = path;
  event.acl = std::move(acl);
  events.push_back(std::move(event));
}

void add_posix(std::vector<Event>& events, const std::string& path,
               const tree::PosixChange& change) {
  std::string text = posix_text(change);
  if (!text.empty()) add(events, kSetAcl, path, text);
}

std::vector<Event> mount_events(OpCode type, std::string_view body) {
  std::vector<Event> events;
  if (type == OpCode::kExtWrite) {
    if (auto write = tree::decode_ext_write(body)) {
      add(events, kSetData, write->path);
      if (write->posix) add_posix(events, write->path, *write->posix);
    }
  } else if (type == OpCode::kExtAppend) {
    if (auto append = tree::decode_ext_append(body)) add(events, kSetData, append->path);
  } else if (type == OpCode::kExtRemove) {
    if (auto removal = tree::decode_ext_remove(body)) add(events, kDelete, removal->path);
  } else if (type == OpCode::kExtSetPosix) {
    if (auto set = tree::decode_ext_set_posix(body)) add_posix(events, set->path, set->change);
  } else if (type == OpCode::kExtRename) {
    if (auto rename = tree::decode_ext_rename(body)) {
      add(events, kDelete, rename->from);
      if (rename->exchange) {
        add(events, kDelete, rename->to);
        add(events, kCreate, rename->from);
      }
      add(events, kCreate, rename->to);
    }
  }
  return events;
}

// The operations of a multi that was done, each with the path that it came to.
std::vector<Event> multi_events(std::string_view body, const Outcome& outcome) {
  std::vector<Event> events;
  tree::jute::Reader in(body);
  for (size_t i = 0; in.ok(); ++i) {
    auto type = static_cast<OpCode>(in.i32());
    bool is_end = in.boolean();
    in.i32();
    if (is_end || !in.ok()) break;
    std::string_view begin = in.rest();
    if (!tree::take_multi_op(type, in)) break;
    std::string_view own = begin.substr(0, begin.size() - in.rest().size());
    std::optional<Event> event = zookeeper_event(type, own);
    if (!event) continue;  // a check
    if (i < outcome.ops.size() && !outcome.ops[i].path.empty()) event->znode = outcome.ops[i].path;
    events.push_back(std::move(*event));
  }
  return events;
}

bool has_data(OpCode type) { return tree::is_create(type) || type == OpCode::kSetData; }

// A path, data, and what follows. Of what is malformed only the path is left.
std::string one_without_data(std::string_view op) {
  tree::jute::Reader in(op);
  std::string path(in.string());
  if (!in.ok()) return {};
  std::string rest;
  tree::jute::Writer out(rest);
  out.string(path);
  in.buffer();
  if (!in.ok()) return rest;
  out.string("");
  return rest.append(in.rest());
}

// Up to where it is malformed.
std::string multi_without_data(std::string_view body) {
  std::string rest;
  tree::jute::Reader in(body);
  while (in.ok()) {
    std::string_view head = in.take(kMultiHeadBytes);
    tree::jute::Reader fields(head);
    auto type = static_cast<OpCode>(fields.i32());
    bool is_end = fields.boolean();
    std::string_view begin = in.rest();
    if (is_end || !in.ok() || !tree::take_multi_op(type, in)) break;
    std::string_view op = begin.substr(0, begin.size() - in.rest().size());
    rest.append(head);
    rest.append(has_data(type) ? one_without_data(op) : std::string(op));
  }
  return rest;
}

std::vector<Event> plain_events(OpCode type, std::string_view body, const Outcome& outcome) {
  bool is_done = outcome.error == Error::kOk;
  if (type == OpCode::kMulti) {
    if (is_done) return multi_events(body, outcome);
    Event failed;
    failed.operation = "multiOperation";
    return {failed};
  }
  if (type == OpCode::kReconfig) {
    Event event;
    event.operation = "reconfig";
    if (is_done) event.znode = "/zookeeper/config";
    return {event};
  }
  std::optional<Event> event = zookeeper_event(type, body);
  if (!event) return mount_events(type, body);
  if (is_done && !outcome.path.empty()) event->znode = outcome.path;
  return {*event};
}

}  // namespace

std::string without_data(OpCode type, std::string_view body) {
  if (type == OpCode::kMulti) return multi_without_data(body);
  if (has_data(type)) return one_without_data(body);
  bool has_event = type == OpCode::kDelete || type == OpCode::kSetAcl;
  return std::string(has_event ? body : std::string_view());
}

std::vector<Event> events_of(const Who& who, OpCode type, std::string_view body,
                             const Outcome& outcome) {
  Result result = Result::kFailure;
  if (outcome.error == Error::kOk) result = Result::kSuccess;
  if (outcome.error == Error::kConnectionLoss) result = Result::kInvoked;
  std::vector<Event> events = plain_events(type, body, outcome);
  for (Event& event : events) {
    event.who = who;
    event.result = result;
  }
  return events;
}

}  // namespace zabfs::fsd::audit
