#include "sim/mounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <utility>

#include "fsd/view/view.h"
#include "tree/request.h"

namespace zabfs::sim {

using fsd::LockMode;
using fsd::Queue;
using tree::Error;
using tree::OpCode;
using tree::Outcome;
using tree::Zxid;

namespace {

constexpr int32_t kMountSessionMs = 3'000;
constexpr int64_t kQuorumGraceMs = 1'500;
constexpr int64_t kCommitTimeoutMs = 4'000;
constexpr int kMaxWritesUnderWay = 6;
constexpr int kSharedFiles = 2;
constexpr const char* kDirectory = "/mount";
constexpr const char* kGuarded = "/mount/guarded";

bool exclude_each_other(const Mount::Lock& a, const Mount::Lock& b) {
  return a.queue == b.queue && (a.mode == LockMode::kExclusive || b.mode == LockMode::kExclusive);
}

}  // namespace

Mount::Process::Process(SimNode& node, int32_t timeout_ms)
    : session(node, timeout_ms),
      writer(node, session, kQuorumGraceMs, kCommitTimeoutMs),
      locks(node, session, writer) {
  session.set_on_lost([this](tree::SessionId lost) { locks.session_lost(lost); });
}

Mount::Mount(Mounts& mounts, World& world, SimNode& node, int number)
    : mounts_(mounts), world_(world), node_(node), number_(number) {
  locks_ = {{Queue::kMutex, LockMode::kExclusive},
            {Queue::kFile, LockMode::kExclusive},
            {Queue::kFile, LockMode::kShared}};
}

void Mount::trace(const std::string& what) {
  if (world_.options().trace) world_.trace(fmt::format("mount {} {}", number_, what));
}

tree::SessionId Mount::session() const {
  return is_alive() ? process_->session.id() : tree::SessionId{};
}

bool Mount::believes_in(const Lock& lock) const {
  return is_alive() && lock.ticket != 0 && process_->locks.is_held(lock.ticket) &&
         !process_->session.is_past_deadline();
}

// ---- what it is told

// The tree is as this txn made it: each is seen.
void Mount::publishing(std::span<const tree::Change> changes) {
  bool is_written = std::any_of(changes.begin(), changes.end(), [](const tree::Change& change) {
    return change.type == tree::ChangeType::kDataChanged && change.path == kGuarded;
  });
  if (is_written) check_guarded();
}

void Mount::check_guarded() {
  const tree::ZNode* node = node_.replica().tree().find(kGuarded);
  if (node == nullptr) return;
  std::string_view text = node->data.view();
  int64_t token = 0;
  std::from_chars(text.data(), text.data() + text.size(), token);
  if (token < guarded_) {
    throw Violation(fmt::format(
        "the holder with token {} wrote behind the one with token {} (node {}, zxid 0x{:x})", token,
        guarded_, node_.id().value, node_.replica().tree().last_zxid().value));
  }
  guarded_ = token;
}

void Mount::published(const std::vector<tree::Change>& changes) {
  process_->locks.published(changes);
}

void Mount::tree_replaced() {
  guarded_ = 0;
  check_guarded();
  process_->locks.tree_replaced();
}

void Mount::standing_changed() { process_->writer.standing_changed(); }

// ---- its files

void Mount::mount() {
  process_ = std::make_unique<Process>(node_, kMountSessionMs);
  life_ = node_.life();
  for (Lock& lock : locks_) lock = {lock.queue, lock.mode};
  guarded_ = 0;
  check_guarded();
  node_.replica().add_listener(this);
  process_->session.start();
  process_->writer.start();
  trace(fmt::format("is mounted on node {}", node_.id().value));
}

fsd::ClientSession::Actor Mount::actor() const { return {uid_of_mount(node_.id()), kMountProgram}; }

void Mount::commit(OpCode type, std::string body, Done done, tree::SessionId only) {
  Zxid known_before = world_.invariants().known();
  ++process_->under_way;
  fsd::ClientSession::Acting as(process_->session, actor());
  process_->writer.commit(
      type, std::move(body),
      [this, known_before, done = std::move(done)](const Outcome& outcome) {
        --process_->under_way;
        if (outcome.error == Error::kOk) {
          world_.invariants().acknowledged(outcome, known_before);
          if (node_.replica().tree().last_zxid() < outcome.zxid) {
            throw Violation(
                fmt::format("node {} answered a write that it does not show", node_.id().value));
          }
        }
        done(outcome);
      },
      nullptr, only);
}

void Mount::make_files() {
  for (const char* path : {kDirectory, kGuarded}) {
    commit(OpCode::kCreate, tree::create_body(path, "", tree::open_acl(), tree::kCreatePersistent),
           [](const Outcome&) {});
  }
}

void Mount::append() {
  std::string token = mounts_.next_token(number_);
  std::string path = "/f" + std::to_string(world_.random(kSharedFiles));
  process_->writer.when_writable(
      [this, token, path] {
        world_.invariants().attempted(token);
        if (node_.replica().tree().find(path) == nullptr) {
          commit(OpCode::kCreate,
                 tree::create_body(path, "", tree::open_acl(), tree::kCreatePersistent),
                 [](const Outcome&) {});
        }
        tree::ExtAppend ext;
        ext.path = path;
        ext.data = token + "\n";
        commit(OpCode::kExtAppend, encode(ext), [this, token](const Outcome& outcome) {
          if (outcome.error == Error::kOk) world_.invariants().acknowledged(token);
        });
      },
      [](fsd::FileError) {});
}

void Mount::edit() {
  std::string path = "/r" + std::to_string(world_.random(kSharedFiles));
  const tree::ZNode* node = node_.replica().tree().find(path);
  if (node == nullptr) return append();  // others make them
  tree::ExtWrite ext;
  ext.path = path;
  ext.version = node->stat.version;
  ext.data = std::to_string(world_.random(1'000'000));
  commit(OpCode::kExtWrite, encode(ext),
         [this, path, version = ext.version](const Outcome& outcome) {
           if (outcome.error != Error::kOk) return;
           int32_t now = world_.invariants().version_at(path, outcome.zxid);
           if (now == version + 1) return;
           throw Violation(fmt::format("{} edited at version {} became {}", path, version, now));
         });
}

// ---- its locks

void Mount::write_guarded() {
  const Lock& lock = locks_.front();
  if (!believes_in(lock)) return append();
  tree::ExtWrite ext;
  ext.path = kGuarded;
  ext.data = std::to_string(process_->locks.token(lock.ticket).value);
  commit(
      OpCode::kExtWrite, encode(ext), [](const Outcome&) {}, process_->session.id());
}

void Mount::ask_for(Lock& lock, bool wait) {
  lock.is_asked_for = true;
  fsd::LockTable::Ask ask;
  ask.queue = lock.queue;
  ask.directory = kDirectory;
  ask.file = "guarded";
  ask.mode = lock.mode;
  ask.wait = wait;
  ask.uid = *actor().uid;
  ask.program = actor().program;
  ask.lost = [this, &lock] { answered(lock, fsd::FileError::kStale); };
  // It may be answered at once, when nobody has its number yet.
  lock.ticket = process_->locks.acquire(std::move(ask), [this, &lock](fsd::FileError error) {
    node_.post([this, &lock, error, life = life_] {
      if (life == life_) answered(lock, error);
    });
  });
}

// Granted, refused, or lost.
void Mount::answered(Lock& lock, fsd::FileError error) {
  if (lock.ticket == 0) return;
  if (error != fsd::FileError::kOk) {
    trace(fmt::format("has no lock: error {}", static_cast<int>(error)));
    return release(lock);
  }
  if (!process_->locks.is_held(lock.ticket)) return;
  mounts_.lock_granted(*this, lock, process_->locks.token(lock.ticket));
}

void Mount::release(Lock& lock) {
  fsd::LockTicket ticket = std::exchange(lock.ticket, 0);
  process_->locks.release(ticket, fsd::FileError::kInterrupted,
                          [&lock] { lock.is_asked_for = false; });
}

void Mount::act() {
  if (!node_.is_up() || node_.is_paused()) return;
  node_.on_strand([this] {
    if (!is_alive()) return mount();
    if (process_->under_way >= kMaxWritesUnderWay) return;
    if (node_.replica().tree().find(kGuarded) == nullptr) return make_files();
    uint64_t choice = world_.random(16);
    if (choice < 4) return append();
    if (choice < 6) return edit();
    if (choice < 9) return write_guarded();
    Lock& lock = locks_[world_.random(locks_.size())];
    if (!lock.is_asked_for) return ask_for(lock, !world_.chance(4));
    if (lock.ticket != 0 && world_.chance(3)) release(lock);
  });
}

// ---- all of them

Mounts::Mounts(World& world, int count) : world_(world) {
  for (int i = 1; i <= count; ++i) {
    SimNode& node = *world.nodes()[static_cast<size_t>(i) % world.nodes().size()];
    mounts_.push_back(std::make_unique<Mount>(*this, world, node, i));
  }
}

void Mounts::run(int64_t until_us) {
  if (world_.now_us() >= until_us) return;
  mounts_[world_.random(mounts_.size())]->act();
  world_.after(1'000 + world_.random_us(100'000), [this, until_us] { run(until_us); });
}

bool Mounts::has(tree::SessionId session) const {
  return std::any_of(mounts_.begin(), mounts_.end(),
                     [session](const auto& mount) { return mount->session() == session; });
}

std::string Mounts::next_token(int mount) { return fmt::format("m{}-{}", mount, next_token_++); }

void Mounts::lock_granted(const Mount& holder, const Mount::Lock& lock, Zxid token) {
  for (const auto& other : mounts_) {
    for (const Mount::Lock& held : other->locks()) {
      if (&held == &lock || !exclude_each_other(held, lock) || !other->believes_in(held)) continue;
      throw Violation(fmt::format("mounts {} and {} hold locks that exclude each other",
                                  other->number(), holder.number()));
    }
  }
  for (LockMode mode : {LockMode::kShared, LockMode::kExclusive}) {
    if (mode == LockMode::kShared && lock.mode == LockMode::kShared) continue;
    Zxid last = last_tokens_[{lock.queue, mode}];
    if (token <= last) {
      throw Violation(
          fmt::format("a lock's token falls from 0x{:x} to 0x{:x}", last.value, token.value));
    }
  }
  Zxid& last = last_tokens_[{lock.queue, lock.mode}];
  last = std::max(last, token);
  ++locks_granted_;
}

}  // namespace zabfs::sim
