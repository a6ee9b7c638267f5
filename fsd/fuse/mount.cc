#include "fsd/fuse/mount.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <utility>

#include "consensus/data_directory.h"
#include "fsd/audit/operations.h"
#include "fsd/fuse/mount_point.h"
#include "fsd/fuse/txn_view.h"

namespace zabfs::fsd {

namespace {

constexpr int kWorkers = 3;
constexpr auto kCloseWait = std::chrono::milliseconds(1'500);
constexpr auto kSettleWait = std::chrono::milliseconds(3'000);

}  // namespace

Mount::Mount(consensus::Service& service, MountConfig config, std::string data_dir,
             const std::string& log_dir, Registry& registry, audit::AuditLog* audit)
    : service_(service),
      config_(std::move(config)),
      replies_(make_replies([](fuse_req_t interrupted, void* data) {
        auto* operations = static_cast<Operations*>(fuse_req_userdata(interrupted));
        operations->interrupted(reinterpret_cast<uint64_t>(data));
      })),
      replayer_(service),
      session_(service, config_.session_timeout_ms),
      writer_(service, session_, config_.quorum_grace_ms, config_.commit_timeout_ms),
      room_(service, session_, writer_, {config_.uid, config_.gid}),
      root_(service, session_, config_.root_mode),
      reader_(service, nodes_, deferred_, {config_.uid, config_.gid}),
      writes_(service, session_, writer_),
      locks_(room_.locks(), {[this](uint64_t handle) { files_.lock_granted(handle); },
                             [this](uint64_t handle) { files_.lock_given_up(handle); },
                             [this](uint64_t handle) { lock_lost(handle); }}),
      turns_(service, kernel_, nodes_, reader_, config_.cache_after_ms),
      forgetter_(kernel_),
      cache_(service, kernel_, nodes_, reader_, writes_, turns_, forgetter_, callers_,
             {[this](auto changes, const RenameSeen& rename) { files_.follow(changes, rename); },
              [this](KernelNode node, const tree::Bytes& last) { orphans_.gone(node, last); }}),
      answers_(nodes_, open_, reader_, cache_, turns_, replayer_),
      replays_(service, nodes_, reader_, writes_, answers_, replayer_, config_.inotify),
      commits_(service, kernel_, nodes_, deferred_, reader_, writes_, writer_,
               config_.commit_after_ms),
      orphans_(nodes_, open_, answers_, turns_, commits_, numbers_,
               service.replica().config().prepare.limits.data_bytes()),
      files_({service, kernel_, nodes_, open_, reader_, answers_, turns_, writes_, commits_,
              orphans_, gate_, numbers_, session_, locks_}),
      changes_(service, reader_, answers_, cache_, writes_, files_),
      control_({service, reader_, answers_, writes_, numbers_, interrupts_, session_, room_}),
      staging_(writes_, room_, changes_),
      lock_requests_({service, reader_, writes_, interrupts_, files_, locks_}),
      directories_(nodes_, reader_, turns_, numbers_),
      xattrs_(reader_, writer_, session_),
      past_(service, consensus::DataDirectory::storage_in(log_dir),
            consensus::DataDirectory::storage_in(data_dir), {config_.uid, config_.gid}),
      past_files_(service, past_, nodes_, reader_, answers_, numbers_, {config_.uid, config_.gid}),
      names_({service, nodes_, reader_, answers_, cache_, turns_, commits_, gate_, replays_,
              replayer_, &past_files_}),
      operations_({service, reader_,     answers_,           names_,   directories_, xattrs_,
                   files_,  orphans_,    changes_,           control_, staging_,     lock_requests_,
                   locks_,  replays_,    past_files_,        gate_,    cache_,       numbers_,
                   writer_, interrupts_, std::move(data_dir)},
                  replies_) {
  if (audit != nullptr) {
    session_.set_witness([audit](const ClientSession::Actor& actor, tree::SessionId session,
                                 tree::OpCode type, const std::string& body,
                                 const tree::Outcome& outcome) {
      audit::Who who{session, {}, {actor.uid.value_or(::geteuid())}, {}};
      audit->write(audit::events_of(who, type, body, outcome));
    });
  }
  session_.set_on_lost([this](tree::SessionId session) { room_.session_lost(session); });
  room_.tell(registry);
  registry.add([replies = replies_](Metrics& into) { replies->times().add_to(into); });
}

Mount::~Mount() = default;

// ---- its life

Status Mount::mount() {
  std::string options = "fsname=zabfs,subtype=zabfs,default_permissions,nosuid,nodev,noatime";
  bool lets_others_in = config_.allow_other && MountPoint::may_let_others_in();
  if (lets_others_in) options += ",allow_other";
  if (config_.allow_other && !lets_others_in) {
    spdlog::warn(
        "only this user can look into {}: /etc/fuse.conf does not have the line user_allow_other",
        config_.point);
  }
  MountPoint point(config_.point);
  Status mounted = kernel_.mount(config_.point, options, Operations::table(), &operations_);
  if (!mounted.ok()) return mounted;
  if (config_.protects_point) {
    point.protect();
  } else if (Status opened = point.unprotect(); !opened.ok()) {
    spdlog::warn(opened.why());
  }
  return {};
}

void Mount::attach() {
  service_.post([this] {
    service_.replica().add_listener(this);
    turns_.end_change();
    session_.start();
    writer_.start();
    root_.look();
  });
}

void Mount::start(std::function<void()> on_end) {
  root_.wait(kSettleWait);
  if (config_.inotify) replayer_.expect();
  auto before = [this](const void* request, size_t size) {
    cache_.note_request(request, size);
    files_.note_request(request, size);
  };
  kernel_.serve(kWorkers, before, std::move(on_end));
  if (!config_.inotify) return;
  Status started = replayer_.start(kernel_.point());
  if (!started.ok()) spdlog::error("no inotify for what other nodes do: {}", started.why());
}

void Mount::stop() {
  // The session is closed first, so that what it held is free at once and not at its timeout.
  auto closed = std::make_shared<std::promise<void>>();
  std::future<void> done = closed->get_future();
  service_.post([this, closed] {
    writer_.stop();
    session_.close([closed] { closed->set_value(); });
  });
  done.wait_for(kCloseWait);
  replayer_.stop();
  past_.stop();
  turns_.stop();  // while requests are still answered
  forgetter_.stop();
  kernel_.unmount();
  kernel_.join();
  replies_->close();
}

void Mount::lock_lost(uint64_t handle) {
  control_.lose(handle);
  files_.lock_lost(handle);
}

// ---- commits

void Mount::before_publish(const std::vector<tree::Txn>& txns) {
  TxnBatch batch(txns, service_.replica().tree());
  std::vector<std::optional<RenameSeen>> renames;
  for (size_t n = 0; n < txns.size(); ++n) {
    const std::optional<RenameSeen>& rename = renames.emplace_back(batch.rename_in(n));
    bool moves = rename && !rename->is_exchange();
    replays_.note(txns[n], moves ? rename : std::nullopt);
  }
  cache_.begin_change(txns, renames, txns.empty() ? nullptr : writes_.local_change(txns.back()));
}

void Mount::publishing(std::span<const tree::Change> changes) { cache_.publishing(changes); }

void Mount::published(const std::vector<tree::Change>& changes) {
  replays_.queue();
  cache_.end_change();
  room_.published(changes);
}

void Mount::before_replace() { cache_.begin_change_of_all(); }

void Mount::tree_replaced() {
  cache_.end_change();
  room_.tree_replaced();
}

void Mount::standing_changed() {
  if (service_.replica().is_serving()) root_.settle();
  writer_.standing_changed();
}

}  // namespace zabfs::fsd
