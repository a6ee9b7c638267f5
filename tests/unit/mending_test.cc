#include "consensus/mending.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "consensus/fetch.h"
#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

using Next = Mending::Next;

constexpr int64_t kNow = 10'000;
const std::set<ServerId> kOthers{ServerId{2}, ServerId{3}};

// A log that lacks (1,3) to (1,5) and (1,9).
class MendingTest : public testing::Test {
 protected:
  Mending mending_{{{zxid(2), zxid(5)}, {zxid(8), zxid(9)}}};

  std::optional<ServerId> ask_next(int64_t now_ms = kNow) {
    return mending_.ask_next(kOthers, kLink, now_ms);
  }
  Next send(uint32_t counter, int64_t now_ms = kNow) {
    return mending_.take(Packet(PacketType::kProposal, zxid(counter), make_payload("txn")),
                         kOthers.size(), now_ms);
  }
  Next end(FetchEnd end = FetchEnd::kLooking, int64_t now_ms = kNow) {
    return mending_.take(Packet(PacketType::kFetchTxns, Zxid{}, encode_fetch_end(end)),
                         kOthers.size(), now_ms);
  }
  // "3-5 9"
  static std::string text(const std::vector<Log::Range>& ranges) {
    std::string text;
    for (const Log::Range& range : ranges) {
      uint32_t first = range.after.next().counter(), last = range.through.counter();
      if (!text.empty()) text += ' ';
      text += std::to_string(first);
      if (last != first) text += '-' + std::to_string(last);
    }
    return text;
  }
};

TEST_F(MendingTest, AsksOneMemberAfterTheOtherAndBeginsAgain) {
  for (int64_t expected : {2, 3, 2}) {
    EXPECT_EQ(ask_next(), ServerId{expected});
    EXPECT_EQ(mending_.member(), ServerId{expected});
    EXPECT_EQ(mending_.link(), kLink);
  }
}

TEST_F(MendingTest, ANodeThatKnowsOfNobodyAsksNobodyAndGivesUpNothing) {
  EXPECT_EQ(mending_.ask_next({}, kLink, kNow), std::nullopt);
  EXPECT_EQ(mending_.link(), 0u);
  EXPECT_EQ(mending_.next_step_ms(), kNow + Mending::kAnswerMs);
}

TEST_F(MendingTest, AsksForAllThatIsMissing) { EXPECT_EQ(text(mending_.question()), "3-5 9"); }

TEST_F(MendingTest, TheFirstMemberMayHaveAll) {
  ask_next();
  mending_.question();
  for (uint32_t counter : {3u, 4u, 5u, 9u}) EXPECT_EQ(send(counter), Next::kMore);
  EXPECT_EQ(end(), Next::kComplete);
  EXPECT_EQ(mending_.link(), 0u);
  EXPECT_EQ(mending_.found().size(), 4u);
}

TEST_F(MendingTest, AMemberThatSentSomeIsAskedForTheRest) {
  ask_next();
  mending_.question();
  send(4);
  EXPECT_EQ(end(), Next::kAskAgain);
  EXPECT_EQ(mending_.link(), kLink);
  EXPECT_EQ(text(mending_.question()), "3 5 9");
  EXPECT_EQ(end(), Next::kWait);  // it has no more
  EXPECT_EQ(mending_.link(), 0u);
  EXPECT_EQ(mending_.next_step_ms(), kNow + Mending::kPauseMs);
}

TEST_F(MendingTest, MembersMayEachHaveAPart) {
  ask_next();
  mending_.question();
  send(3);
  send(4);
  end();
  mending_.question();
  EXPECT_EQ(end(), Next::kWait);
  EXPECT_EQ(ask_next(), ServerId{3});
  EXPECT_EQ(text(mending_.question()), "5 9");
  send(5);
  send(9);
  EXPECT_EQ(end(), Next::kComplete);
}

TEST_F(MendingTest, WhatIsNotMissingIsNotKept) {
  ask_next();
  mending_.question();
  for (uint32_t counter : {2u, 6u, 10u}) EXPECT_EQ(send(counter), Next::kMore);
  EXPECT_TRUE(mending_.found().empty());
}

TEST_F(MendingTest, GivesUpAtOnceWhereAMemberServesWithoutThem) {
  ask_next();
  mending_.question();
  EXPECT_EQ(end(FetchEnd::kServes), Next::kGiveUp);
}

TEST_F(MendingTest, AMemberThatIsBusyHasRefusedNothing) {
  for (int i = 0; i < 10; ++i) {
    ask_next();
    mending_.question();
    EXPECT_EQ(end(FetchEnd::kBusy), Next::kWait);
  }
}

// As Java does, and as a broken link looks.
TEST_F(MendingTest, AMemberThatEndsTheLinkWithoutAnAnswerIsAskedWhetherItLeadsEverySecondTime) {
  for (int i = 0; i < 10; ++i) {
    ask_next();
    EXPECT_EQ(mending_.asks_whether_it_leads(), i % 2 == 1);
    if (i % 2 == 0) mending_.question();
    mending_.link_down(kNow);
    ask_next();  // server 3 takes no link
    mending_.link_down(kNow);
  }
}

TEST_F(MendingTest, GivesUpWhereASilentMemberIsAJavaServerThatLeads) {
  ask_next();
  mending_.question();
  mending_.link_down(kNow);
  ask_next();
  mending_.link_down(kNow);
  ask_next();
  ASSERT_TRUE(mending_.asks_whether_it_leads());
  std::string of_java("\0\1\0\0", 4);
  EXPECT_EQ(mending_.take(Packet(PacketType::kLeaderInfo, Zxid::make(1, 0), of_java),
                          kOthers.size(), kNow),
            Next::kGiveUp);
  EXPECT_EQ(mending_.link(), 0u);
}

TEST_F(MendingTest, AZabfsServerThatLeadsIsAskedForTheTxnsAgain) {
  ask_next();
  mending_.question();
  mending_.link_down(kNow);
  ask_next();
  ask_next();
  ASSERT_TRUE(mending_.asks_whether_it_leads());
  EXPECT_EQ(mending_.take(
                Packet(PacketType::kLeaderInfo, Zxid::make(1, 0), encode_leader_info(7, "secret")),
                kOthers.size(), kNow),
            Next::kWait);
  EXPECT_EQ(mending_.link(), 0u);
  EXPECT_EQ(mending_.next_step_ms(), kNow + Mending::kPauseMs);
  for (int i = 0; i < 3; ++i) {
    ask_next();
    ask_next();
    EXPECT_FALSE(mending_.asks_whether_it_leads());
    mending_.question();
    mending_.link_down(kNow);
  }
}

TEST_F(MendingTest, AMemberThatHasAnsweredIsNoJavaServer) {
  ask_next();
  mending_.question();
  send(3);
  for (int i = 0; i < 4; ++i) {
    mending_.link_down(kNow);
    ask_next();
    ask_next();
    EXPECT_EQ(mending_.member(), ServerId{2});
    EXPECT_FALSE(mending_.asks_whether_it_leads());
    mending_.question();
  }
}

TEST_F(MendingTest, WithoutALeaderItGivesUpOnceAllHaveRefused) {
  ask_next();
  mending_.question();
  EXPECT_EQ(end(), Next::kWait);
  ask_next();
  mending_.link_down(kNow);  // server 3 has not said that it lacks something
  ask_next();
  mending_.question();
  EXPECT_EQ(end(), Next::kWait);  // server 2 once more
  ask_next();
  mending_.question();
  EXPECT_EQ(end(), Next::kGiveUp);
}

TEST_F(MendingTest, ALinkThatIsDownLeadsToTheNextMemberAfterAPause) {
  ask_next();
  mending_.link_down(kNow);
  EXPECT_EQ(mending_.link(), 0u);
  EXPECT_EQ(mending_.next_step_ms(), kNow + Mending::kPauseMs);
}

TEST_F(MendingTest, EachSignOfAMemberGivesItMoreTime) {
  ask_next(kNow);
  EXPECT_EQ(mending_.next_step_ms(), kNow + Mending::kAnswerMs);
  send(3, kNow + 4'000);
  EXPECT_EQ(mending_.next_step_ms(), kNow + 4'000 + Mending::kAnswerMs);
}

TEST_F(MendingTest, WaitsForRoomWithAllThatItHas) {
  ask_next();
  mending_.question();
  for (uint32_t counter : {3u, 4u, 5u, 9u}) send(counter);
  EXPECT_EQ(end(), Next::kComplete);
  mending_.wait_for_room(kNow + 1'000);
  EXPECT_TRUE(mending_.lacks_room());
  EXPECT_EQ(mending_.next_step_ms(), kNow + 1'000);
  ask_next();
  EXPECT_EQ(text(mending_.question()), "");
  EXPECT_EQ(end(), Next::kComplete);
}

}  // namespace
}  // namespace zabfs::consensus
