#include "fsd/recipes/lock.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <random>
#include <utility>

#include "fsd/fuse/view.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kSequenceDigits = 10;

struct Place {
  std::string name;
  int64_t sequence;
  bool shared;
  const tree::ZNode* node;
};

std::string uuid() {
  static std::random_device random;
  auto word = [] { return static_cast<uint32_t>(random()); };
  uint32_t a = word(), b = word(), c = word(), d = word();
  return fmt::format("{:08x}-{:04x}-4{:03x}-{:04x}-{:04x}{:08x}", a, b >> 16, b & 0xfff,
                     0x8000 | (c & 0x3fff), c >> 16, d);
}

std::optional<int64_t> sequence_of(std::string_view name) {
  if (name.size() < kSequenceDigits) return std::nullopt;
  std::string_view digits = name.substr(name.size() - kSequenceDigits);
  int64_t value = 0;
  auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

bool is_mutex_contender(std::string_view name) {
  return name.find("-lock-") != std::string_view::npos ||
         name.find("__lock__") != std::string_view::npos;
}

// The queue in order of the sequence, which every node sees alike.
std::vector<Place> queue_of(const tree::Tree& tree, const std::string& path, bool is_mutex) {
  std::vector<Place> places;
  const tree::ZNode* queue = tree.find(path);
  if (queue == nullptr) return places;
  tree.for_each_child(*queue, [&](const tree::ZNode& child) {
    std::string_view name = child.name.view();
    if (is_mutex && !is_mutex_contender(name)) return;
    std::optional<int64_t> sequence = sequence_of(name);
    if (!sequence) return;
    places.push_back({std::string(name), *sequence, !is_mutex && name.starts_with("r-"), &child});
  });
  std::sort(places.begin(), places.end(),
            [](const Place& a, const Place& b) { return a.sequence < b.sequence; });
  return places;
}

// What a contender of ours wrote about itself, or for others' what can be said.
std::string owner_text(const Place& place) {
  std::string text(place.node->data.view());
  std::replace(text.begin(), text.end(), '\n', ' ');
  if (std::count(text.begin(), text.end(), ' ') >= 2) return text;
  return fmt::format("{} - {}", text.empty() ? "-" : text, place.name);
}

}  // namespace

bool LockTable::is_contender(std::string_view name) {
  return is_mutex_contender(name) && sequence_of(name).has_value();
}

std::string LockTable::describe(const tree::Tree& tree, const std::string& directory) {
  std::vector<Place> places = queue_of(tree, directory, true);
  if (places.empty()) return "state free\n";
  std::string text = fmt::format("state held\ntoken 0x{:x}\nholder {}\n",
                                 places[0].node->stat.czxid.value, owner_text(places[0]));
  for (size_t i = 1; i < places.size(); ++i) text += "waiter " + owner_text(places[i]) + "\n";
  return text;
}

LockTicket LockTable::acquire(Ask ask, Granted granted) {
  LockTicket ticket = next_++;
  Contender& contender = contenders_[ticket];
  contender.queue = ask.file.empty() ? ask.directory
                                     : tree::join_path(tree::join_path(ask.directory, kHidden),
                                                       "lock:" + ask.file);
  contender.ask = std::move(ask);
  contender.granted = std::move(granted);
  create(ticket);
  return ticket;
}

void LockTable::create(LockTicket ticket) {
  Contender& contender = contenders_.at(ticket);
  std::string prefix = contender.ask.file.empty()                ? "_c_" + uuid() + "-lock-"
                       : contender.ask.mode == LockMode::kShared ? std::string("r-")
                                                                 : std::string("w-");
  std::string data = fmt::format("{} {} {}", host_.replica().config().zab.me.value,
                                 contender.ask.pid, contender.ask.program);
  std::string body = tree::create_body(tree::join_path(contender.queue, prefix), data,
                                       acl_for_new(tree::Kind::kFile, 0644, 0, 0),
                                       tree::kCreateEphemeralSequential);
  session_.submit(OpCode::kCreate2, std::move(body),
                  [this, ticket](const Outcome& outcome) { created(ticket, outcome); });
}

// The queue of a file's lock: the hidden child of its directory and a container in it, which the
// leader reaps when nobody has queued for a while.
void LockTable::create_queue(LockTicket ticket) {
  const std::string& queue = contenders_.at(ticket).queue;
  std::string hidden(tree::parent_path(queue));
  tree::AclList acl = acl_for_new(tree::Kind::kDirectory, 0755, 0, 0);
  session_.submit(OpCode::kCreate2, tree::create_body(hidden, "", acl, tree::kCreatePersistent),
                  [](const Outcome&) {});
  session_.submit(OpCode::kCreateContainer,
                  tree::create_body(queue, "", acl, tree::kCreateContainerFlag),
                  [this, ticket](const Outcome& outcome) {
                    if (!contenders_.contains(ticket)) return;
                    if (outcome.error == Error::kOk || outcome.error == Error::kNodeExists) {
                      return create(ticket);
                    }
                    answer(contenders_.at(ticket), to_errno(outcome.error));
                    forget(ticket);
                  });
}

void LockTable::created(LockTicket ticket, const Outcome& outcome) {
  auto place = contenders_.find(ticket);
  if (place == contenders_.end()) return;
  Contender& contender = place->second;
  bool leaving = contender.state == State::kLeaving;
  if (outcome.error == Error::kNoNode && !contender.ask.file.empty() && !leaving) {
    return create_queue(ticket);
  }
  if (outcome.error != Error::kOk) {
    answer(contender, to_errno(outcome.error));
    return forget(ticket);
  }
  contender.path = outcome.path;
  contender.session = tree::SessionId{outcome.stat.ephemeral_owner};
  if (contender.session != session_.id()) {  // lost while the answer was on its way
    contender.state = State::kLost;
    answer(contender, ESTALE);
    if (leaving) forget(ticket);
    return;
  }
  session_.hold();
  if (leaving) return remove_znode(ticket);
  contender.state = State::kWaiting;
  evaluate(ticket);
}

void LockTable::evaluate(LockTicket ticket) {
  Contender& contender = contenders_.at(ticket);
  if (contender.state != State::kWaiting) return;
  std::string name(tree::base_name(contender.path));
  bool shared = contender.ask.mode == LockMode::kShared && !contender.ask.file.empty();
  std::vector<Place> places =
      queue_of(host_.replica().tree(), contender.queue, contender.ask.file.empty());
  for (const Place& place : places) {
    if (place.name == name) {
      contender.state = State::kHeld;
      return answer(contender, 0);
    }
    if (!shared || !place.shared) break;
  }
  bool is_there = std::any_of(places.begin(), places.end(),
                              [&name](const Place& place) { return place.name == name; });
  if (!is_there) {  // deleted by somebody
    contender.state = State::kLost;
    session_.let_go();
    return answer(contender, ESTALE);
  }
  if (!contender.ask.wait) release(ticket, EAGAIN, [] {});
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
  std::vector<LockTicket> waiting;
  for (auto& [ticket, contender] : contenders_) {
    if (contender.state == State::kHeld && deleted.contains(contender.path)) {
      contender.state = State::kLost;  // by others' hands: the token fences it
      session_.let_go();
    } else if (contender.state == State::kWaiting && queues.contains(contender.queue)) {
      waiting.push_back(ticket);
    }
  }
  for (LockTicket ticket : waiting) {
    if (contenders_.contains(ticket)) evaluate(ticket);
  }
}

void LockTable::session_lost(tree::SessionId session) {
  std::vector<LockTicket> lost;
  for (auto& [ticket, contender] : contenders_) {
    if (contender.session == session && contender.state != State::kCreating) lost.push_back(ticket);
  }
  for (LockTicket ticket : lost) {
    Contender& contender = contenders_.at(ticket);
    bool was_leaving = contender.state == State::kLeaving;
    contender.state = State::kLost;
    answer(contender, ESTALE);
    if (was_leaving) forget(ticket);
  }
}

void LockTable::release(LockTicket ticket, int error, std::function<void()> done) {
  auto place = contenders_.find(ticket);
  if (place == contenders_.end()) return done();
  Contender& contender = place->second;
  State state = std::exchange(contender.state, State::kLeaving);
  contender.on_left.push_back(std::move(done));
  answer(contender, error);
  if (state == State::kLost) return forget(ticket);
  if (state == State::kWaiting || state == State::kHeld) remove_znode(ticket);
}

void LockTable::remove_znode(LockTicket ticket) {
  Contender& contender = contenders_.at(ticket);
  session_.submit_held(contender.session, OpCode::kDelete,
                       tree::delete_body(contender.path, tree::kAnyVersion),
                       [this, ticket, session = contender.session](const Outcome&) {
                         if (session == session_.id()) session_.let_go();
                         forget(ticket);
                       });
}

void LockTable::answer(Contender& contender, int error) {
  Granted granted = std::exchange(contender.granted, nullptr);
  if (granted) granted(error);
}

void LockTable::forget(LockTicket ticket) {
  auto place = contenders_.find(ticket);
  if (place == contenders_.end()) return;
  std::vector<std::function<void()>> on_left = std::move(place->second.on_left);
  contenders_.erase(place);
  for (const std::function<void()>& left : on_left) left();
}

bool LockTable::is_held(LockTicket ticket) const {
  auto place = contenders_.find(ticket);
  return place != contenders_.end() && place->second.state == State::kHeld;
}

bool LockTable::is_lost(LockTicket ticket) const {
  auto place = contenders_.find(ticket);
  return place != contenders_.end() && place->second.state == State::kLost;
}

std::string LockTable::handles() const {
  std::string text;
  for (const auto& [ticket, contender] : contenders_) {
    const Ask& ask = contender.ask;
    std::string path = ask.file.empty() ? tree::join_path(ask.directory, "@/lock")
                                        : tree::join_path(ask.directory, ask.file);
    text += fmt::format("{} {} {} {}\n", contender.state == State::kHeld ? "lock" : "lock-waiter",
                        path, ask.pid, ask.program);
  }
  return text;
}

}  // namespace zabfs::fsd
