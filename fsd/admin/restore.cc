#include "fsd/admin/restore.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "consensus/replica.h"
#include "fsd/session/bulk.h"
#include "tree/jute.h"
#include "tree/plain_requests.h"

namespace zabfs::fsd::admin {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int32_t kTimeoutMs = 60'000;  // of its session
constexpr size_t kLooks = 1'000;        // at znodes, before others have their turn

// Each of these requests begins with its path.
std::string path_of(const tree::MultiOp& op) {
  return std::string(tree::jute::Reader(op.body).string());
}

}  // namespace

Restore::Restore(consensus::Service& service, std::shared_ptr<const tree::Tree> wanted, Done done)
    : service_(service),
      wanted_(std::move(wanted)),
      difference_(*wanted_),
      done_(std::move(done)) {}

void Restore::start() {
  session_ = service_.replica().new_mount_session_id();
  ++requests_;
  auto self = shared_from_this();
  service_.replica().submit(tree::superuser_request(session_, 0, OpCode::kCreateSession,
                                                    tree::create_session_body(kTimeoutMs)),
                            [self, this](const Outcome& outcome) {
                              --requests_;
                              if (outcome.error != Error::kOk) fail("there is no leader");
                              pump();
                            });
}

// Goes on as far as it can. It is called when a commit has ended, and after each turn of looking.
void Restore::pump() {
  if (std::exchange(is_pumping_, true)) return;  // a request that is refused at once has ended
  step();
  is_pumping_ = false;
}

void Restore::step() {
  if (is_posted_) return;  // that turn goes on, or finishes
  if (!status_.ok()) {
    if (requests_ == 0) finish();
    return;
  }
  if (bulk::is_full(on_the_way_, requests_)) return;
  if (is_more_) {
    std::vector<tree::MultiOp> ops;
    is_more_ = difference_.next(service_.replica().tree(), kLooks, ops);
    for (tree::MultiOp& op : ops) put(std::move(op));
    if (!is_more_) submit(std::exchange(commit_, nullptr));
  }
  if (is_more_) return pump_later();
  if (requests_ == 0) end_pass();
}

void Restore::pump_later() {
  is_posted_ = true;
  service_.post_after(0, [self = shared_from_this(), this] {
    is_posted_ = false;
    pump();
  });
}

void Restore::end_pass() {
  if (!has_conflict_) return finish();
  if (passes_ == kMaxPasses) {
    status_ =
        Status::failed("clients wrote the same znodes all the time: stop them, and ask again");
    return finish();
  }
  ++passes_;
  has_conflict_ = false;
  is_more_ = true;
  difference_.begin();
  pump_later();
}

void Restore::put(tree::MultiOp op) {
  if (op.type == OpCode::kSetAcl) {  // which no multi can have
    auto single = std::make_shared<Commit>();
    single->is_single = true;
    single->bytes = bulk::bytes_of(op);
    single->ops.push_back(std::move(op));
    submit(std::exchange(commit_, nullptr));  // it may make this znode
    return submit(std::move(single));
  }
  bool is_full =
      commit_ && !bulk::fits(commit_->bytes + bulk::bytes_of(op), commit_->ops.size() + 1);
  if (is_full) submit(std::exchange(commit_, nullptr));
  if (!commit_) commit_ = std::make_shared<Commit>();
  commit_->bytes += bulk::bytes_of(op);
  commit_->ops.push_back(std::move(op));
}

void Restore::submit(CommitPtr commit) {
  if (!commit) return;
  ++requests_;
  on_the_way_ += commit->bytes;
  tree::Request request = tree::superuser_request(
      session_, ++cxid_, commit->is_single ? commit->ops[0].type : OpCode::kMulti,
      commit->is_single ? commit->ops[0].body : tree::multi_body(commit->ops));
  request.user.program = "restore";
  service_.replica().submit(std::move(request),
                            [self = shared_from_this(), this, commit](const Outcome& outcome) {
                              --requests_;
                              on_the_way_ -= commit->bytes;
                              ended(*commit, outcome);
                              pump();
                            });
}

void Restore::ended(const Commit& commit, const Outcome& outcome) {
  service_.replica().touch_session(session_, kTimeoutMs);
  auto [error, at] = tree::failure_of(outcome);
  if (error == Error::kOk) {
    changes_ += commit.ops.size();
  } else if (tree::is_conflict(error)) {
    has_conflict_ = true;
  } else if (error == Error::kConnectionLoss || error == Error::kSessionExpired) {
    fail("the leader was lost in the middle: part of the tree is restored, so ask again");
  } else {
    fail(fmt::format("{}: {}. Part of the tree is restored", path_of(commit.ops[at]),
                     tree::error_name(error)));
  }
}

void Restore::fail(std::string why) {
  if (status_.ok()) status_ = Status::failed(std::move(why));
}

void Restore::finish() {
  service_.replica().submit(tree::superuser_request(session_, -1, OpCode::kCloseSession, ""),
                            nullptr);
  if (!status_.ok()) return done_(status_);
  done_(changes_);
}

}  // namespace zabfs::fsd::admin
