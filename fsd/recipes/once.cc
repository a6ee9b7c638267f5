// `@/once/NAME/PERIOD`: one open of all nodes succeeds, and the next one no sooner than PERIOD
// after it. When that is the leader's clock says. DIR/@/once/NAME names who had it last, and its
// mtime is when; each question is a write to DIR/@/once, whose mtime is the leader's time.
//
// Example: a nightly job has PERIOD 12h. The clocks of three machines differ by minutes, so cron
// starts it three times. The first open wins. The others come within 12 hours, so they are refused.
#include <fmt/format.h>

#include <utility>

#include "fsd/recipes/handles.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr const char* kOnceChild = "once";

class OnceHandle : public Handle {
 public:
  OnceHandle(Room& room, const std::string& directory, std::string name, int64_t period_ms,
             Opener opener)
      : Handle(room, Control::kOncePeriod, directory, std::move(opener)),
        clock_path_(hidden_path(directory, kOnceChild)),
        path_(tree::join_path(clock_path_, name)),
        period_ms_(period_ms) {}

  void open(Done opened) override {
    opened_ = std::move(opened);
    auto self = shared_from_this();
    room_.writer().when_writable([self, this] { attempt(); },
                                 [self, this](FileError error) { finish(error); });
  }
  void cancel_open() override { finish(FileError::kInterrupted); }

 protected:
  void take(size_t, Answer answer) override {
    answer(FileError::kOk,
           fmt::format("once {}\ntoken 0x{:x}\n", room_.owner_text(opener()), token_.value));
  }

 private:
  void attempt() {
    if (!opened_) return;  // interrupted
    if (room_.tree().find(clock_path_) == nullptr) {
      return room_.create_hidden(directory(), kOnceChild, "", then(&OnceHandle::found_clock));
    }
    if (room_.tree().find(path_) == nullptr) {
      return commit(
          OpCode::kCreate2,
          tree::create_body(path_, room_.owner_text(opener()),
                            acl_for_new(tree::Kind::kFile, 0644, 0, 0), tree::kCreatePersistent),
          &OnceHandle::made);
    }
    tree::ExtWrite question;
    question.path = clock_path_;
    commit(OpCode::kExtWrite, encode(question), &OnceHandle::know_the_time);
  }

  void found_clock(const Outcome& outcome) {
    bool is_there = outcome.error == Error::kOk || outcome.error == Error::kNodeExists;
    is_there ? attempt() : finish(open_file_error_of(outcome.error));
  }

  void made(const Outcome& outcome) {
    if (outcome.error == Error::kNodeExists) return finish(FileError::kBusy);
    won(outcome);
  }

  void know_the_time(const Outcome& outcome) {
    if (!opened_) return;
    const tree::ZNode* last = room_.tree().find(path_);
    if (outcome.error != Error::kOk || last == nullptr) return won(outcome);
    if (outcome.stat.mtime_ms - last->stat.mtime_ms < period_ms_) return finish(FileError::kBusy);
    tree::ExtWrite mine;
    mine.path = path_;
    mine.czxid = last->stat.czxid;
    mine.version = last->stat.version;
    mine.data = room_.owner_text(opener());
    commit(OpCode::kExtWrite, encode(mine), &OnceHandle::taken);
  }

  void taken(const Outcome& outcome) {
    if (outcome.error == Error::kStale) return finish(FileError::kBusy);  // somebody was faster
    won(outcome);
  }

  void won(const Outcome& outcome) {
    token_ = outcome.stat.mzxid;
    finish(open_file_error_of(outcome.error));
  }

  using Step = void (OnceHandle::*)(const Outcome& outcome);
  Writer::Completion then(Step step) {
    return
        [self = shared_from_this(), this, step](const Outcome& outcome) { (this->*step)(outcome); };
  }
  void commit(OpCode type, std::string body, Step step) {
    room_.writer().commit(type, std::move(body), then(step));
  }

  void finish(FileError error) {
    Done opened = std::exchange(opened_, nullptr);
    if (opened) opened(error);
  }

  std::string clock_path_, path_;
  int64_t period_ms_;
  Done opened_;
  tree::Zxid token_;
};

}  // namespace

HandlePtr open_once(Room& room, const std::string& directory, std::string name, int64_t period_ms,
                    Opener opener) {
  return std::make_shared<OnceHandle>(room, directory, std::move(name), period_ms,
                                      std::move(opener));
}

}  // namespace zabfs::fsd
