#include "consensus/fetch.h"

#include <gtest/gtest.h>

#include <string>

#include "sim/sim_disk.h"
#include "unit/hand_lanes.h"
#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

constexpr size_t kAskedTxnBytes = 100;

TEST(Fetch, AQuestionComesBack) {
  std::string data =
      encode_fetch({{{zxid(2), zxid(4)}, {zxid(7), zxid(8)}}, {ServerId{3}, 5, true, 9}});
  std::optional<FetchQuestion> question = decode_fetch(data);
  ASSERT_TRUE(question);
  ASSERT_EQ(question->ranges.size(), 2u);
  EXPECT_EQ(question->ranges[1].after, zxid(7));
  EXPECT_EQ(question->ranges[1].through, zxid(8));
  EXPECT_EQ(question->asker.id, ServerId{3});
  EXPECT_EQ(question->asker.ensemble, 9);
  for (size_t size = 0; size < 36; ++size) {
    EXPECT_FALSE(decode_fetch(std::string_view(data).substr(0, size))) << size;
  }
}

// The log holds (1,1) to (1,8).
class FetchAnswersTest : public testing::Test {
 protected:
  FetchAnswersTest() {
    EXPECT_EQ(log_.at_rest().open().error, "");
    EXPECT_TRUE(log_.at_rest().begin().ok());
    std::vector<LogEntry> batch;
    for (uint32_t counter = 1; counter <= 8; ++counter) {
      batch.push_back({log_format::RecordType::kTxn, zxid(counter), 0,
                       make_payload(std::string(kAskedTxnBytes, 'x'))});
    }
    EXPECT_TRUE(log_.at_rest().write(batch, Zxid{}).ok());
  }
  void ask(uint32_t after, uint32_t through, LinkId link = kLink) {
    answers_.answer(link, encode_fetch({{{zxid(after), zxid(through)}}, {ServerId{3}}}));
  }

  HandLanes lanes_;
  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
  SnapshotStore store_{snapshot_disk_};
  LogPipeline log_{{1u << 20, 1u << 20}, lanes_, log_disk_, store_, {}};
  bool may_fetch_ = true;
  bool is_up_ = true;
  bool serves_ = false;
  std::map<LinkId, std::string> sent_;  // "p3 p4 end "
  FetchAnswers answers_{3 * kAskedTxnBytes,
                        log_,
                        {[this](const LearnerInfo&) { return may_fetch_; },
                         [this](LinkId) { return is_up_; }, [this] { return serves_; },
                         [this](LinkId link, const Packet& packet) {
                           if (packet.type == PacketType::kProposal) {
                             sent_[link] += "p" + std::to_string(packet.zxid.counter()) + " ";
                           } else {
                             FetchEnd end = decode_fetch_end(packet.bytes());
                             sent_[link] += end == FetchEnd::kServes ? "serves"
                                            : end == FetchEnd::kBusy ? "busy"
                                                                     : "end";
                           }
                         }}};
};

TEST_F(FetchAnswersTest, SendsWhatItHas) {
  ask(6, 12);
  EXPECT_EQ(sent_[kLink], "");
  lanes_.run_all();
  EXPECT_EQ(sent_[kLink], "p7 p8 end");
}

TEST_F(FetchAnswersTest, SendsSoMuchAtOnceAndSaysWhetherItServes) {
  serves_ = true;
  ask(1, 8);
  lanes_.run_all();
  EXPECT_EQ(sent_[kLink], "p2 p3 p4 serves");
}

TEST_F(FetchAnswersTest, StrangersAndNonsenseGetNothing) {
  answers_.answer(kOther, "nonsense");
  EXPECT_EQ(sent_[kOther], "end");
  may_fetch_ = false;
  ask(6, 8);
  EXPECT_EQ(sent_[kLink], "end");
  EXPECT_TRUE(lanes_.background_.empty());
}

TEST_F(FetchAnswersTest, AnswersOneAtATime) {
  ask(6, 8);
  ask(6, 8, kOther);
  EXPECT_EQ(sent_[kOther], "busy");
  sent_.clear();
  lanes_.run_all();
  EXPECT_EQ(sent_[kLink], "p7 p8 end");
  ask(6, 8, kOther);
  lanes_.run_all();
  EXPECT_EQ(sent_[kOther], "p7 p8 end");
}

TEST_F(FetchAnswersTest, NothingIsSentByALinkThatIsGone) {
  ask(6, 8);
  is_up_ = false;
  lanes_.run_all();
  EXPECT_EQ(sent_[kLink], "");
  is_up_ = true;
  ask(6, 8);  // the next is answered
  lanes_.run_all();
  EXPECT_EQ(sent_[kLink], "p7 p8 end");
}

}  // namespace
}  // namespace zabfs::consensus
