// Opens of `@/semaphore/N`, on a replica whose disk and clock do what the test says.
#include <memory>

#include "fsd/recipes/handles.h"
#include "unit/session_fixture.h"

namespace zabfs::fsd {
namespace {

class SemaphoreTest : public LockTest {
 protected:
  void open(bool waits, std::vector<FileError>& answers) {
    Opener opener;
    opener.wait = waits;
    on_strand([&] {
      handles_.push_back(room_.open(Control::kSemaphore, "/d", "1", opener));
      handles_.back()->open([&answers](FileError error) { answers.push_back(error); });
    });
  }

  Room room_{*this, session_, writer_, {}};
  std::vector<HandlePtr> handles_;
};

TEST_F(SemaphoreTest, AnOpenThatDoesNotWaitIsAnsweredInTime) {
  on_strand([this] { writer_.start(); });
  open(false, one_);
  wait(kCommitMs + 200);
  EXPECT_EQ(one_, std::vector<FileError>{FileError::kTryAgain});
  run();
  EXPECT_EQ(one_.size(), 1u);
  EXPECT_EQ(room_.locks().handles(0), "");
  open(false, two_);
  run();
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kOk});
}

TEST_F(SemaphoreTest, AnOpenThatWaitsIsToldThatTheSessionIsLost) {
  session_.set_on_lost([this](SessionId lost) { room_.session_lost(lost); });
  open(true, one_);
  run();
  ASSERT_EQ(one_, std::vector<FileError>{FileError::kOk});
  open(true, two_);
  run();
  EXPECT_TRUE(two_.empty());
  now_ms_ += kTimeoutMs;
  on_strand([this] { session_.check_deadline(); });
  EXPECT_EQ(two_, std::vector<FileError>{FileError::kStale});
  EXPECT_TRUE(handles_[0]->is_lost());
}

}  // namespace
}  // namespace zabfs::fsd
