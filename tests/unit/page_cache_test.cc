#include "fsd/fuse/page_cache.h"

#include <gtest/gtest.h>

namespace zabfs::fsd {
namespace {

using tree::Zxid;
using Told = PageCache::Told;
using Use = PageCache::Use;
using Wait = PageCache::Wait;

constexpr int64_t kCalmUs = 1'000'000;
constexpr KernelNode kNode = 7;

class PageCacheTest : public testing::Test {
 protected:
  PageCacheTest() {
    publish(1);
    now_us_ += kCalmUs;
  }
  static Version version(int64_t zxid, const std::string& text = "text") {
    return {Zxid{zxid}, tree::Bytes(text), {}};
  }
  static pid_t thread_of(uint64_t handle) { return static_cast<pid_t>(1'000 + handle); }
  static std::vector<pid_t> ids(const std::vector<AnsweredThread>& threads) {
    std::vector<pid_t> ids;
    for (const AnsweredThread& thread : threads) ids.push_back(thread.id);
    return ids;
  }
  void publish(int64_t zxid) { cache_.published(Zxid{zxid}, now_us_); }
  Use open(uint64_t handle, int64_t zxid = 1) {
    return cache_.open(kNode, handle, thread_of(handle), version(zxid), now_us_);
  }
  Told tell(int64_t zxid) {
    return cache_.tell(kNode, Zxid{zxid}, now_us_, [this] { ++forgotten_; });
  }
  // As the mount does: the version is shown, its pages are read.
  void turn(uint64_t handle, int64_t zxid) {
    cache_.show(kNode, handle, version(zxid), now_us_);
    cache_.showed(kNode, now_us_);
    cache_.pages(kNode, handle, now_us_);
    cache_.pages_answered(kNode, now_us_);
    now_us_ += PageCache::kApartUs;
  }

  int64_t now_us_ = 1'000'000'000;
  int forgotten_ = 0;
  PageCache cache_{kCalmUs};
};

TEST_F(PageCacheTest, OnlyWhatWasVisibleForLongIsCached) {
  publish(2);
  EXPECT_EQ(open(1, 2), Use::kDirect);
  now_us_ += kCalmUs - 1;
  EXPECT_EQ(open(1, 2), Use::kDirect);
  now_us_ += 1;
  EXPECT_EQ(open(1, 2), Use::kCold);
}

TEST_F(PageCacheTest, PublicationsWithoutPauseAgeToo) {
  for (int64_t zxid = 2; zxid < 3'000; ++zxid) {
    publish(zxid);
    now_us_ += 1'000;
  }
  EXPECT_EQ(open(1, 1'900), Use::kCold);
  EXPECT_EQ(open(2, 2'999), Use::kDirect);
}

TEST_F(PageCacheTest, PagesStayForTheNextReaderOfTheSameVersion) {
  EXPECT_EQ(open(1), Use::kCold);
  EXPECT_EQ(open(2), Use::kCold);  // the first one's open may still drop pages
  EXPECT_TRUE(cache_.pages(kNode, 1, now_us_));
  EXPECT_EQ(open(3), Use::kWarm);
  for (uint64_t handle : {1u, 2u, 3u}) cache_.close(kNode, handle);
  EXPECT_FALSE(cache_.has_readers(kNode));
  EXPECT_EQ(open(4), Use::kWarm);
  cache_.close(kNode, 4);
  publish(2);
  now_us_ += kCalmUs;
  EXPECT_EQ(open(5, 2), Use::kCold);
}

TEST_F(PageCacheTest, ReadersAndWritersExclude) {
  cache_.writer_opened(kNode);
  EXPECT_EQ(open(1), Use::kDirect);
  cache_.writer_closed(kNode);
  EXPECT_EQ(open(1), Use::kCold);
  cache_.pages(kNode, 1, now_us_);
  cache_.writer_opened(kNode);
  cache_.writer_closed(kNode);
  EXPECT_EQ(open(2), Use::kDirect);  // the size may be another one
  cache_.close(kNode, 1);
  EXPECT_EQ(open(3), Use::kCold);  // and the pages are not kept
}

TEST_F(PageCacheTest, AnotherVersionsAttributesAreNotTaken) {
  open(1);
  EXPECT_EQ(tell(1), Told::kTake);
  EXPECT_TRUE(cache_.must_forget(kNode));
  EXPECT_EQ(tell(1), Told::kOnce);  // it is about to change
  cache_.end_change();
  EXPECT_EQ(tell(2), Told::kApart);
  EXPECT_EQ(forgotten_, 1);
  EXPECT_FALSE(cache_.must_forget(kNode));  // it asks anyway
  EXPECT_EQ(cache_.pages(kNode, 1, now_us_)->view(), "text");
  EXPECT_EQ(open(2, 2), Use::kDirect);
}

TEST_F(PageCacheTest, AReaderThatAsksIsTurned) {
  open(1);
  // Nobody knows which size the kernel has.
  EXPECT_TRUE(cache_.asked(kNode, 1, thread_of(1), Zxid{1})->spoiled);
  turn(1, 1);
  EXPECT_FALSE(cache_.asked(kNode, 1, thread_of(1), Zxid{1}));
  ASSERT_TRUE(cache_.asked(kNode, 1, thread_of(1), Zxid{2}));
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kTurn, now_us_, now_us_), 0);
  EXPECT_TRUE(cache_.show(kNode, 1, version(2, "second"), now_us_));
  EXPECT_EQ(tell(2), Told::kWait);
  EXPECT_EQ(open(2, 1), Use::kDirect);
  cache_.showed(kNode, now_us_);
  EXPECT_EQ(tell(2), Told::kOnce);
  EXPECT_EQ(tell(3), Told::kWait);  // until the READ that cuts the size
  EXPECT_EQ(cache_.pages(kNode, 1, now_us_)->view(), "second");
  now_us_ += PageCache::kStayingUs - 1;
  EXPECT_EQ(tell(3), Told::kWait);  // its answer may take a while
  cache_.pages_answered(kNode, now_us_);
  EXPECT_EQ(tell(3), Told::kWait);
  now_us_ += PageCache::kApartUs;
  EXPECT_EQ(tell(3), Told::kApart);
  EXPECT_EQ(tell(2), Told::kTake);
}

// A file that was renamed over this one has another number, and /proc may still give the first.
TEST_F(PageCacheTest, TheInodeNumbersOfAllVersionsThatWereShownAreKnown) {
  EXPECT_TRUE(cache_.inodes(kNode).empty());
  Version first = version(1), second = version(2);
  first.inode = 10;
  second.inode = 20;
  cache_.open(kNode, 1, thread_of(1), first, now_us_);
  EXPECT_EQ(cache_.inodes(kNode), std::set<uint64_t>{10});
  cache_.show(kNode, 1, second, now_us_);
  EXPECT_EQ(cache_.inodes(kNode), (std::set<uint64_t>{10, 20}));
  EXPECT_EQ(cache_.shown(kNode)->inode, 20u);
  for (second.inode = 100; second.inode < 1'000; ++second.inode) {
    cache_.show(kNode, 1, second, now_us_);
  }
  EXPECT_LT(cache_.inodes(kNode).size(), 100u);
  EXPECT_TRUE(cache_.inodes(kNode).contains(999));
}

TEST_F(PageCacheTest, ATurnWaitsForOtherReaders) {
  open(1);
  open(2);
  turn(1, 1);
  int64_t since_us = now_us_;
  EXPECT_GT(cache_.wait_to_show(kNode, 1, Wait::kTurn, since_us, now_us_), 0);
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kSame, since_us, now_us_), 0);
  cache_.set_waiting(kNode, 2, thread_of(2), Wait::kSame);
  EXPECT_GT(cache_.wait_to_show(kNode, 1, Wait::kTurn, since_us, now_us_), 0);
  cache_.set_waiting(kNode, 2, thread_of(2), Wait::kTurn);
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kTurn, since_us, now_us_), 0);
  cache_.set_waiting(kNode, 2, thread_of(2), Wait::kNone);
  cache_.close(kNode, 2);
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kTurn, since_us, now_us_), 0);
}

TEST_F(PageCacheTest, AHandleKeepsTheVersionThatItsPassBeganWith) {
  open(1);
  open(2);
  turn(1, 1);
  turn(2, 2);
  std::optional<PageCache::Found> found = cache_.asked(kNode, 1, thread_of(1), Zxid{2});
  ASSERT_TRUE(found);
  EXPECT_EQ(found->own.mzxid, Zxid{1});
  EXPECT_EQ(found->shown.mzxid, Zxid{2});
  turn(1, 1);  // back, for its next read
  EXPECT_EQ(cache_.asked(kNode, 2, thread_of(2), Zxid{2})->own.mzxid, Zxid{2});
  turn(2, 2);
  EXPECT_FALSE(cache_.asked(kNode, 2, thread_of(2), Zxid{2}));
  cache_.begin_pass(kNode, 1);
  EXPECT_FALSE(cache_.asked(kNode, 1, thread_of(1), Zxid{2}));
}

// One that is in another version must ask before it reads on, and a kernel that keeps attributes
// does not ask.
TEST_F(PageCacheTest, NoAttributesAreKeptWhileAHandleIsInAnotherVersion) {
  open(1);
  open(2);
  turn(1, 2);
  EXPECT_EQ(tell(2), Told::kOnce);
  cache_.begin_pass(kNode, 2);
  EXPECT_EQ(tell(2), Told::kTake);
  turn(1, 3);
  EXPECT_EQ(tell(3), Told::kOnce);
  cache_.close(kNode, 2);
  EXPECT_EQ(tell(3), Told::kTake);
}

TEST_F(PageCacheTest, WhoStayedIsNotWaitedForAgainAndWhoIsNewIs) {
  open(1);
  open(2);
  turn(1, 2);
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kTurn, now_us_, now_us_), PageCache::kStayingUs);
  publish(2);
  now_us_ += kCalmUs;
  EXPECT_EQ(open(3, 2), Use::kWarm);
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kTurn, now_us_, now_us_), PageCache::kOthersUs);
}

TEST_F(PageCacheTest, ThreadsAreThoseThatOpenedOrAskedAndDontWait) {
  EXPECT_TRUE(cache_.threads(kNode, 0).empty());
  open(1);
  open(2);
  cache_.asked(kNode, 2, 77, Zxid{1});
  EXPECT_EQ(ids(cache_.threads(kNode, 0)), (std::vector<pid_t>{77, thread_of(1), thread_of(2)}));
  cache_.set_waiting(kNode, 2, 77, Wait::kSame);
  cache_.close(kNode, 1);
  EXPECT_EQ(ids(cache_.threads(kNode, 0)), std::vector<pid_t>{thread_of(2)});
  cache_.set_waiting(kNode, 2, 77, Wait::kNone);
  EXPECT_EQ(ids(cache_.threads(kNode, 0)), (std::vector<pid_t>{77, thread_of(2)}));
}

TEST_F(PageCacheTest, AThreadThatAsksAgainHasAnotherAnswer) {
  open(1);
  std::vector<AnsweredThread> before = cache_.threads(kNode, 0);
  cache_.asked(kNode, 1, thread_of(1), Zxid{1});
  EXPECT_NE(cache_.threads(kNode, 0), before);
  cache_.wrote(kNode, 55, now_us_);
  before = cache_.landing(kNode);
  cache_.wrote(kNode, 55, now_us_);
  EXPECT_NE(cache_.landing(kNode), before);
}

TEST_F(PageCacheTest, WritersAndStayingReadersKeepADistance) {
  open(1);
  EXPECT_EQ(cache_.wait_to_write(kNode, now_us_), 0);
  cache_.pages(kNode, 1, now_us_);
  EXPECT_EQ(cache_.wait_to_write(kNode, now_us_), PageCache::kWriterUs);
  now_us_ += PageCache::kWriterUs;
  cache_.wrote(kNode, 55, now_us_);
  EXPECT_EQ(ids(cache_.landing(kNode)), std::vector<pid_t>{55});
  cache_.landed(kNode, 55);
  EXPECT_TRUE(cache_.landing(kNode).empty());
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kTurn, now_us_, now_us_), PageCache::kWriterUs);
  EXPECT_GT(cache_.wait_to_write(kNode, now_us_), 0);  // the reader's turn comes first
  now_us_ += PageCache::kWriterUs;
  EXPECT_EQ(cache_.wait_to_show(kNode, 1, Wait::kTurn, now_us_, now_us_), 0);
  turn(1, 1);
  EXPECT_FALSE(cache_.asked(kNode, 1, thread_of(1), Zxid{1}));
}

TEST_F(PageCacheTest, AnswersThatAreTakenInAnyCaseTellWhatIsShown) {
  EXPECT_FALSE(cache_.unordered(kNode, Zxid{2}, 55, now_us_));
  open(1);
  EXPECT_FALSE(cache_.unordered(kNode, Zxid{1}, 55, now_us_));
  EXPECT_EQ(cache_.unordered(kNode, Zxid{2}, 55, now_us_)->mzxid, Zxid{1});
}

}  // namespace
}  // namespace zabfs::fsd
