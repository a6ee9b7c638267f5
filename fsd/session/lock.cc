#include "fsd/session/lock.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "consensus/replica.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

struct Place {
  std::string name;
  int64_t sequence;
  bool shared;
  const tree::ZNode* node;
};

// How Curator names a recipe's contenders, behind the prefix `_c_UUID-`.
struct RecipeRow {
  const char* exclusive;
  const char* shared;
  bool (*matches)(std::string_view name);
};

RecipeRow recipe_of(Queue queue) {
  switch (queue) {
    case Queue::kFile:
      return {"w-", "r-", nullptr};
    case Queue::kMutex:
    case Queue::kSemaphoreMutex:
      return {"lock-", "lock-", is_mutex_contender};
    case Queue::kReadWrite:
      return {"__WRIT__", "__READ__", is_read_write_contender};
    case Queue::kLatch:
      return {"latch-", "latch-", is_latch_contender};
    case Queue::kLease:
      return {"lease-", "lease-", is_lease};
  }
  return {};
}

bool has_modes(Queue queue) { return queue == Queue::kFile || queue == Queue::kReadWrite; }

// The znode whose children queue.
std::string queue_path(Queue queue, const std::string& directory, const std::string& file) {
  switch (queue) {
    case Queue::kFile:
      return hidden_path(directory, "lock:" + file);
    case Queue::kSemaphoreMutex:
      return tree::join_path(directory, kSemaphoreLocks);
    case Queue::kLease:
      return tree::join_path(directory, kSemaphoreLeases);
    case Queue::kMutex:
    case Queue::kReadWrite:
    case Queue::kLatch:
      return directory;
  }
  return directory;
}

// The queue in order of the sequence, which every node sees alike.
std::vector<Place> places_of(const tree::Tree& tree, const std::string& path, Queue queue) {
  std::vector<Place> places;
  const tree::ZNode* znode = tree.find(path);
  if (znode == nullptr) return places;
  RecipeRow recipe = recipe_of(queue);
  tree.for_each_child(*znode, [&](const tree::ZNode& child) {
    std::string_view name = child.name.view();
    if (recipe.matches != nullptr && !recipe.matches(name)) return;
    std::optional<int64_t> sequence = sequence_of(name);
    if (!sequence) return;
    bool shared = queue == Queue::kFile ? name.starts_with("r-") : is_reader(name);
    places.push_back({std::string(name), *sequence, shared && has_modes(queue), &child});
  });
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.sequence < b.sequence; });
  return places;
}

// What a contender of ours wrote about itself, or for others' what can be said.
std::string owner_text(const Place& place, bool may_read) {
  std::string text(may_read ? place.node->data.view() : std::string_view());
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (std::count(text.begin(), text.end(), ' ') >= 2) return text;
  return fmt::format("{} - {}", text.empty() ? "-" : text, place.name);
}

}  // namespace

std::string LockTable::describe(const tree::Tree& tree, const std::string& directory, Queue queue,
                                const NodeTest& may_read) {
  std::vector<Place> places = places_of(tree, queue_path(queue, directory, ""), queue);
  if (places.empty()) return "state free\n";
  size_t holders = 1;
  while (places[0].shared && holders < places.size() && places[holders].shared) ++holders;
  tree::Zxid token;
  for (size_t i = 0; i < holders; ++i) token = std::max(token, places[i].node->stat.czxid);
  std::string text = fmt::format("state held\ntoken 0x{:x}\n", token.value);
  for (size_t i = 0; i < places.size(); ++i) {
    bool readable = may_read(*places[i].node, tree::join_path(directory, places[i].name));
    text +=
        fmt::format("{} {}\n", i < holders ? "holder" : "waiter", owner_text(places[i], readable));
  }
  return text;
}

int32_t LockTable::leases_taken(const tree::Tree& tree, const std::string& directory) {
  std::string path = queue_path(Queue::kLease, directory, "");
  return static_cast<int32_t>(places_of(tree, path, Queue::kLease).size());
}

LockTicket LockTable::acquire(Ask ask, Granted granted) {
  LockTicket ticket = next_++;
  Contender& contender = contenders_[ticket];
  contender.queue = queue_path(ask.queue, ask.directory, ask.file);
  contender.granted = ask.wait ? std::move(granted) : answered_in_time(ticket, std::move(granted));
  contender.ask = std::move(ask);
  contender.asked_ms = service_.now_ms();
  create(ticket);
  return ticket;
}

// It waits for its contender to be made, and to be gone again. A leader that goes meanwhile is not
// waited for. What is made in the end is removed.
LockTable::Granted LockTable::answered_in_time(LockTicket ticket, Granted granted) {
  uint64_t number = writer_.expect_while_writable([this, ticket] {
    bool read_only = writer_.is_read_only();
    release(ticket, read_only ? FileError::kReadOnly : FileError::kFailed, [] {});
  });
  return [this, number, granted = std::move(granted)](FileError error) {
    writer_.settled(number);
    granted(error);
  };
}

void LockTable::create(LockTicket ticket) {
  Contender& contender = contenders_.at(ticket);
  RecipeRow recipe = recipe_of(contender.ask.queue);
  std::string prefix = contender.ask.mode == LockMode::kShared ? recipe.shared : recipe.exclusive;
  if (contender.ask.queue != Queue::kFile) {
    prefix = "_c_" + uuid_from([this] { return service_.random(); }) + "-" + prefix;
  }
  std::string data = fmt::format("{} {} {}", service_.replica().config().zab.me.value,
                                 contender.ask.pid, contender.ask.program);
  std::string body = tree::create_body(tree::join_path(contender.queue, prefix), data,
                                       acl_for_new(tree::Kind::kFile, 0644, 0, 0),
                                       tree::kCreateEphemeralSequential);
  ClientSession::Acting as(session_, contender.ask.actor());
  session_.submit(OpCode::kCreate2, std::move(body),
                  [this, ticket](const Outcome& outcome) { created(ticket, outcome); });
}

// A queue below the directory: a container, which the leader reaps when nobody has queued for a
// while. That of a file's lock is in the hidden child of the directory.
void LockTable::create_queue(LockTicket ticket) {
  const std::string& queue = contenders_.at(ticket).queue;
  bool is_hidden = contenders_.at(ticket).ask.queue == Queue::kFile;
  ClientSession::Acting as(session_, contenders_.at(ticket).ask.actor());
  tree::AclList acl =
      is_hidden ? acl_for_new(tree::Kind::kDirectory, 0755, 0, 0)
                : acl_like(service_.replica().tree(), contenders_.at(ticket).ask.directory);
  if (is_hidden) {
    std::string hidden(tree::parent_path(queue));
    session_.submit(OpCode::kCreate2, tree::create_body(hidden, "", acl, tree::kCreatePersistent),
                    [](const Outcome&) {});
  }
  session_.submit(OpCode::kCreateContainer,
                  tree::create_body(queue, "", acl, tree::kCreateContainerFlag),
                  [this, ticket](const Outcome& outcome) {
                    if (!contenders_.contains(ticket)) return;
                    if (outcome.error == Error::kOk || outcome.error == Error::kNodeExists) {
                      return create(ticket);
                    }
                    turn_away(contenders_.at(ticket), file_error_of(outcome.error));
                    forget(ticket);
                  });
}

void LockTable::created(LockTicket ticket, const Outcome& outcome) {
  auto found = contenders_.find(ticket);
  if (found == contenders_.end()) return;
  Contender& contender = found->second;
  bool leaving = contender.state == State::kLeaving;
  bool may_create = contender.queue != contender.ask.directory;
  if (outcome.error == Error::kNoNode && may_create && !leaving) {
    return create_queue(ticket);
  }
  if (outcome.error != Error::kOk) {
    turn_away(contender, file_error_of(outcome.error));
    return forget(ticket);
  }
  contender.path = outcome.path;
  contender.czxid = outcome.stat.czxid;
  contender.session = tree::SessionId{outcome.stat.ephemeral_owner};
  if (contender.session != session_.id()) {  // lost while the answer was on its way
    contender.state = State::kLost;
    turn_away(contender, FileError::kStale);
    if (leaving) forget(ticket);
    return;
  }
  session_.hold();
  if (leaving) return remove_znode(ticket);
  contender.state = State::kWaiting;
  tell_joined(contender, FileError::kOk);
  session_.check_deadline();  // it may take this contender with it
  if (contenders_.contains(ticket)) evaluate(ticket);
}

void LockTable::evaluate(LockTicket ticket) {
  Contender& contender = contenders_.at(ticket);
  if (contender.state != State::kWaiting) return;
  const Ask& ask = contender.ask;
  std::string name(tree::base_name(contender.path));
  bool shared = ask.mode == LockMode::kShared && has_modes(ask.queue);
  std::vector<Place> places = places_of(service_.replica().tree(), contender.queue, ask.queue);
  int32_t conflicts = 0;  // that stand before it
  bool is_there = false;
  for (const Place& place : places) {
    is_there = place.name == name;
    if (is_there) break;
    if (!shared || !place.shared) ++conflicts;
  }
  if (!is_there) {  // deleted by somebody
    contender.state = State::kLost;
    session_.let_go();
    return answer(contender, FileError::kStale);
  }
  if (conflicts < ask.permits) {
    return grant(contender);
  }
  if (!ask.wait) refuse(ticket);
}

void LockTable::grant(Contender& contender) {
  contender.state = State::kHeld;
  contender.granted_ms = service_.now_ms();
  wait_times_.note((contender.granted_ms - contender.asked_ms) * 1'000);
  answer(contender, FileError::kOk);
}

// Of one that was held until now.
void LockTable::note_end(const Contender& contender) {
  hold_times_.note((service_.now_ms() - contender.granted_ms) * 1'000);
}

// It is answered once it is out of the queue (forget). Else one could be refused for a contender
// that was refused itself: B is told that A holds the lock, then A lets go, then C tries.
void LockTable::refuse(LockTicket ticket) {
  contenders_.at(ticket).state = State::kLeaving;
  remove_znode(ticket);
}

void LockTable::evaluate_all() {
  std::vector<LockTicket> tickets;
  for (const auto& [ticket, contender] : contenders_) tickets.push_back(ticket);
  for (LockTicket ticket : tickets) {
    if (contenders_.contains(ticket)) evaluate(ticket);
  }
}

void LockTable::published(const std::vector<tree::Change>& changes) {
  if (contenders_.empty()) return;
  std::set<std::string_view> queues;
  std::set<std::string_view> deleted;
  for (const tree::Change& change : changes) {
    if (change.type != tree::ChangeType::kDeleted) continue;
    queues.insert(tree::parent_path(change.path));
    deleted.insert(change.path);
  }
  if (queues.empty()) return;
  std::vector<LockTicket> waiting, lost;
  for (auto& [ticket, contender] : contenders_) {
    if (contender.state == State::kHeld && deleted.contains(contender.path)) {
      session_.let_go();
      lost.push_back(ticket);  // by others' hands: the token fences it
    } else if (contender.state == State::kWaiting && queues.contains(contender.queue)) {
      waiting.push_back(ticket);
    }
  }
  for (LockTicket ticket : lost) lose(ticket);
  for (LockTicket ticket : waiting) {
    if (contenders_.contains(ticket)) evaluate(ticket);
  }
}

void LockTable::lose(LockTicket ticket) {
  auto found = contenders_.find(ticket);
  if (found == contenders_.end()) return;
  Contender& contender = found->second;
  if (contender.state == State::kHeld) note_end(contender);
  contender.state = State::kLost;
  // Who is told may leave at once, and the contender goes with him.
  Granted granted = std::exchange(contender.granted, nullptr);
  std::function<void()> lost = std::exchange(contender.ask.lost, nullptr);
  if (granted) granted(FileError::kStale);
  if (lost) lost();
}

void LockTable::session_lost(tree::SessionId session) {
  std::vector<LockTicket> lost;
  for (auto& [ticket, contender] : contenders_) {
    if (contender.session == session && contender.state != State::kCreating) lost.push_back(ticket);
  }
  for (LockTicket ticket : lost) {
    auto found = contenders_.find(ticket);
    if (found == contenders_.end()) continue;
    bool was_leaving = found->second.state == State::kLeaving;
    lose(ticket);
    if (was_leaving) forget(ticket);
  }
}

void LockTable::release(LockTicket ticket, FileError error, std::function<void()> done) {
  auto found = contenders_.find(ticket);
  if (found == contenders_.end()) return done();
  Contender& contender = found->second;
  State state = std::exchange(contender.state, State::kLeaving);
  if (state == State::kHeld) note_end(contender);
  contender.on_left.push_back(std::move(done));
  Granted granted = std::exchange(contender.granted, nullptr);
  if (state == State::kLost) forget(ticket);
  if (state == State::kWaiting || state == State::kHeld) remove_znode(ticket);
  if (granted) granted(error);  // last: it may find that the session is lost
}

void LockTable::remove_znode(LockTicket ticket) {
  Contender& contender = contenders_.at(ticket);
  ClientSession::Acting as(session_, contender.ask.actor());
  session_.submit_held(contender.session, OpCode::kDelete,
                       tree::delete_body(contender.path, tree::kAnyVersion),
                       [this, ticket, session = contender.session](const Outcome&) {
                         if (session == session_.id()) session_.let_go();
                         forget(ticket);
                       });
}

// As in `lose`, the contender may go with the first that is told.
void LockTable::turn_away(Contender& contender, FileError error) {
  Granted granted = std::exchange(contender.granted, nullptr);
  tell_joined(contender, error);
  if (granted) granted(error);
}

void LockTable::tell_joined(Contender& contender, FileError error) {
  std::function<void(FileError)> joined = std::exchange(contender.ask.joined, nullptr);
  if (joined) joined(error);
}

void LockTable::answer(Contender& contender, FileError error) {
  Granted granted = std::exchange(contender.granted, nullptr);
  if (granted) granted(error);
}

void LockTable::forget(LockTicket ticket) {
  auto found = contenders_.find(ticket);
  if (found == contenders_.end()) return;
  std::vector<std::function<void()>> on_left = std::move(found->second.on_left);
  Granted refused = std::move(found->second.granted);  // all others have their answer
  contenders_.erase(found);
  if (refused) refused(FileError::kTryAgain);
  for (const std::function<void()>& left : on_left) left();
}

bool LockTable::is_held(LockTicket ticket) const {
  auto found = contenders_.find(ticket);
  return found != contenders_.end() && found->second.state == State::kHeld;
}

bool LockTable::is_lost(LockTicket ticket) const {
  auto found = contenders_.find(ticket);
  return found != contenders_.end() && found->second.state == State::kLost;
}

std::optional<LockTable::Conflict> LockTable::conflict(const Ask& ask, LockTicket own) const {
  std::string path = queue_path(ask.queue, ask.directory, ask.file);
  auto mine = contenders_.find(own);
  for (const Place& place : places_of(service_.replica().tree(), path, ask.queue)) {
    std::string contender = tree::join_path(path, place.name);
    if (mine != contenders_.end() && mine->second.path == contender) continue;
    if (place.shared && ask.mode == LockMode::kShared) continue;
    Conflict conflict{place.shared ? LockMode::kShared : LockMode::kExclusive, 0};
    for (const auto& [ticket, other] : contenders_) {
      if (other.path == contender) conflict.pid = other.ask.pid;
    }
    return conflict;
  }
  return std::nullopt;
}

tree::Zxid LockTable::token(LockTicket ticket) const {
  auto found = contenders_.find(ticket);
  return found == contenders_.end() ? tree::Zxid{} : found->second.czxid;
}

std::string LockTable::handles(uid_t uid) const {
  std::string text;
  auto add = [&text](const Contender& contender, std::string_view kind, const std::string& name) {
    const Ask& ask = contender.ask;
    text += fmt::format("{}{} {} {} {}\n", kind, contender.state == State::kHeld ? "" : "-waiter",
                        tree::join_path(ask.directory, name), ask.pid, ask.program);
  };
  for (const auto& [ticket, contender] : contenders_) {
    if (uid != 0 && contender.ask.uid != uid) continue;
    switch (contender.ask.queue) {
      case Queue::kFile:
        add(contender, "lock", contender.ask.file);
        break;
      case Queue::kMutex:
        add(contender, "lock", "@/lock");
        break;
      case Queue::kReadWrite:
        add(contender, "rwlock", "@/rwlock");
        break;
      case Queue::kLatch:
        add(contender, "leader", "@/leader");
        break;
      case Queue::kLease:
        add(contender, "semaphore", fmt::format("@/semaphore/{}", contender.ask.permits));
        break;
      case Queue::kSemaphoreMutex:
        if (contender.state != State::kHeld) add(contender, "semaphore", "@/semaphore");
        break;
    }
  }
  return text;
}

}  // namespace zabfs::fsd
