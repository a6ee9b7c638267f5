// Which of the txns that come are writes of this kernel's programs.
#include "fsd/fuse/own_writes.h"

#include <map>

#include "unit/session_fixture.h"

namespace zabfs::fsd {
namespace {

class OwnWritesTest : public SessionTest, public consensus::ReplicaListener {
 protected:
  OwnWritesTest() {
    replica_->add_listener(this);
    on_strand([this] { writer_.start(); });
  }

  // ReplicaListener
  void before_publish(const std::vector<tree::Txn>& txns) override {
    for (const tree::Txn& txn : txns) {
      const LocalChange* local = own_.local_change(txn);
      if (local != nullptr) threads_[local->names.front()] = local->thread;
    }
  }
  void publishing(std::span<const tree::Change>) override {}
  void published(const std::vector<tree::Change>&) override {}

  void make(const char* path) {
    own_.commit(OpCode::kCreate, create(path), note(errors_), nullptr, {{path}, kThread});
  }

  static constexpr pid_t kThread = 7;
  OwnWrites own_{*this, session_, writer_};
  std::map<std::string, pid_t> threads_;
};

using Threads = std::map<std::string, pid_t>;

TEST_F(OwnWritesTest, AreKnownWhenTheyCome) {
  on_strand([this] {
    make("/a");
    EXPECT_TRUE(own_.are_names_changing_in("/"));
  });
  run();
  EXPECT_EQ(threads_, (Threads{{"/a", kThread}}));
  EXPECT_FALSE(own_.are_names_changing_in("/"));
}

// As in a mount's first moments: a program may write before the session is open.
TEST_F(OwnWritesTest, ThatWaitedForASessionAreKnownToo) {
  session_.hold();
  now_ms_ += kTimeoutMs;
  on_strand([this] {
    session_.check_deadline();
    ASSERT_FALSE(session_.is_open());
    make("/a");
    EXPECT_TRUE(own_.are_names_changing_in("/"));
  });
  run();
  EXPECT_EQ(threads_, (Threads{{"/a", kThread}}));
}

TEST_F(OwnWritesTest, ThatAreDoneAgainInTheNextSessionAreKnownToo) {
  expire(session_.id());
  on_strand([this] { make("/a"); });
  run();
  EXPECT_EQ(errors_, std::vector<Error>{Error::kOk});
  EXPECT_EQ(threads_, (Threads{{"/a", kThread}}));
}

TEST_F(OwnWritesTest, ThatAreRefusedChangeNothing) {
  on_strand([this] { make("/a"); });
  run();
  threads_.clear();
  on_strand([this] { make("/a"); });
  run();
  EXPECT_EQ(errors_, (std::vector<Error>{Error::kOk, Error::kNodeExists}));
  EXPECT_EQ(threads_, Threads{});
}

TEST_F(OwnWritesTest, AreNewsOnceTheProgramWasAnswered) {
  on_strand([this] { make("/a"); });
  wait(kCommitMs);
  EXPECT_EQ(errors_, std::vector<Error>{Error::kOperationTimeout});
  on_strand([this] { EXPECT_FALSE(own_.are_names_changing_in("/")); });
  run();
  EXPECT_TRUE(is_there("/a"));
  EXPECT_EQ(threads_, Threads{});
}

}  // namespace
}  // namespace zabfs::fsd
