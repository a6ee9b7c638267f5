#include "fsd/session/writer.h"

#include <memory>
#include <utility>

#include "consensus/replica.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr int64_t kTickMs = 100;

}  // namespace

void Writer::start() {
  standing_changed();
  tick();
}

void Writer::standing_changed() {
  if (!service_.replica().is_serving()) {
    if (leaderless_since_ms_ == 0) leaderless_since_ms_ = service_.now_ms();
    return;
  }
  leaderless_since_ms_ = 0;
  for (Waiting& waiting : std::exchange(waiting_, {})) {
    ClientSession::Acting as(session_, waiting.actor);
    waiting.body();
  }
}

bool Writer::is_read_only() const {
  int64_t since_ms = leaderless_since_ms_;
  return since_ms != 0 && service_.now_ms() - since_ms >= quorum_grace_ms_;
}

void Writer::when_writable(std::function<void()> body, Done refuse) {
  if (service_.replica().is_serving()) return body();
  if (is_read_only()) return refuse(FileError::kReadOnly);
  waiting_.push_back({std::move(body), std::move(refuse), session_.actor()});
}

void Writer::tick() {
  if (stopping_) return;
  if (is_read_only()) {
    for (Waiting& waiting : std::exchange(waiting_, {})) waiting.refuse(FileError::kReadOnly);
  }
  expire_due();
  service_.post_after(kTickMs, [this] { tick(); });
}

void Writer::expire_due() {
  int64_t now_ms = service_.now_ms();
  bool read_only = is_read_only();
  std::vector<uint64_t> due;
  for (const auto& [number, expected] : expected_) {
    bool is_over = expected.deadline_ms <= now_ms;
    if (!is_over && !read_only) break;  // those behind it have later deadlines
    if (is_over || expected.ends_read_only) due.push_back(number);
  }
  for (uint64_t number : due) {
    // The end of a commit settles an fsync that waited for it.
    auto expected = expected_.extract(number);
    if (!expected.empty()) expected.mapped().expire();
  }
}

uint64_t Writer::expect_while_writable(std::function<void()> expire) {
  uint64_t number = expect(std::move(expire));
  expected_[number].ends_read_only = true;
  return number;
}

uint64_t Writer::expect(std::function<void()> expire) {
  uint64_t number = next_++;
  expected_[number] = {service_.now_ms() + commit_timeout_ms_, std::move(expire), false};
  return number;
}

void Writer::commit(OpCode type, std::string body, Completion done, Completion late,
                    tree::SessionId only, ClientSession::Sent sent) {
  auto shared_done = std::make_shared<Completion>(std::move(done));
  uint64_t number = expect([shared_done, type] {
    Outcome unknown;
    unknown.type = type;
    unknown.error = Error::kOperationTimeout;
    std::exchange(*shared_done, nullptr)(unknown);
  });
  auto answer = [this, number, shared_done, late = std::move(late)](const Outcome& outcome) {
    settled(number);
    if (*shared_done) {
      std::exchange(*shared_done, nullptr)(outcome);
    } else if (late) {
      late(outcome);
    }
  };
  if (only == tree::SessionId{}) {
    session_.submit(type, std::move(body), std::move(answer), std::move(sent));
  } else {
    session_.submit_held(only, type, std::move(body), std::move(answer), std::move(sent));
  }
}

}  // namespace zabfs::fsd
