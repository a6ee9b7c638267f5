#include "consensus/contacts.h"

#include <gtest/gtest.h>

#include "unit/numbers.h"

namespace zabfs::consensus {
namespace {

using Sentences = std::vector<std::string>;

class ContactsTest : public testing::Test {
 protected:
  void SetUp() override { contacts_.keep({kTwo, kThree}); }
  Contacts contacts_;
};

TEST_F(ContactsTest, ThereIsATroubleUntilThatPortIsReached) {
  EXPECT_EQ(contacts_.trouble(kTwo), "");
  contacts_.failed(kTwo, Door::kElection, "the election port refuses");
  EXPECT_EQ(contacts_.trouble(kTwo), "the election port refuses");
  contacts_.reached(kTwo, Door::kQuorum);
  EXPECT_EQ(contacts_.trouble(kTwo), "the election port refuses");
  contacts_.reached(kTwo, Door::kElection);
  EXPECT_EQ(contacts_.trouble(kTwo), "");
}

TEST_F(ContactsTest, WhoseElectionPortIsNotReachedIsCutOff) {
  EXPECT_FALSE(contacts_.is_cut_off(kTwo));
  contacts_.failed(kTwo, Door::kQuorum, "no answer");
  EXPECT_FALSE(contacts_.is_cut_off(kTwo));
  contacts_.failed(kTwo, Door::kElection, "refuses");
  EXPECT_TRUE(contacts_.is_cut_off(kTwo));
  EXPECT_FALSE(contacts_.is_cut_off(kThree));
  contacts_.reached(kTwo, Door::kElection);
  EXPECT_FALSE(contacts_.is_cut_off(kTwo));
}

TEST_F(ContactsTest, WhoWasNoLeaderIsNoTroubleOnceThereIsOne) {
  contacts_.failed(kTwo, Door::kElection, "no name");
  contacts_.failed(kTwo, Door::kQuorum, "no answer");
  contacts_.forget_quorum_ports();
  EXPECT_EQ(contacts_.trouble(kTwo), "no name");
}

TEST_F(ContactsTest, BothPortsAreNamedWhereTheirReasonsDiffer) {
  contacts_.failed(kTwo, Door::kElection, "no name");
  contacts_.failed(kTwo, Door::kQuorum, "no name");
  EXPECT_EQ(contacts_.trouble(kTwo), "no name");
  contacts_.failed(kTwo, Door::kQuorum, "no answer");
  EXPECT_EQ(contacts_.trouble(kTwo), "no name; no answer");
}

TEST_F(ContactsTest, NobodyButMembersIsRemembered) {
  contacts_.failed(ServerId{9}, Door::kElection, "no answer");
  contacts_.heard(ServerId{9}, 1);
  EXPECT_EQ(contacts_.trouble(ServerId{9}), "");
  EXPECT_EQ(contacts_.heard_ms(ServerId{9}), std::nullopt);
  contacts_.failed(kTwo, Door::kElection, "no answer");
  contacts_.heard(kTwo, 7);
  contacts_.keep({kTwo});
  EXPECT_EQ(contacts_.trouble(kTwo), "no answer");
  EXPECT_EQ(contacts_.heard_ms(kTwo), 7);
  contacts_.keep({kThree});
  contacts_.keep({kTwo});
  EXPECT_EQ(contacts_.trouble(kTwo), "");
}

TEST_F(ContactsTest, TheLogIsToldWhatLastsOneLineAMember) {
  contacts_.failed(kTwo, Door::kElection, "refused");
  contacts_.failed(kThree, Door::kElection, "no answer");
  EXPECT_EQ(contacts_.look(0), Sentences{});
  Sentences both{"server 2 can't be reached: refused", "server 3 can't be reached: no answer"};
  EXPECT_EQ(contacts_.look(3'000), both);
  EXPECT_EQ(contacts_.look(6'000), Sentences{});
  EXPECT_EQ(contacts_.look(3'000 + Contacts::kTellAgainMs), both);
}

TEST_F(ContactsTest, TheLogIsToldAtOnceOfAnotherReason) {
  contacts_.failed(kTwo, Door::kElection, "refused");
  contacts_.look(0);
  contacts_.look(3'000);
  contacts_.failed(kTwo, Door::kElection, "no answer");
  EXPECT_EQ(contacts_.look(6'000), Sentences{});
  EXPECT_EQ(contacts_.look(9'000), Sentences{"server 2 can't be reached: no answer"});
}

TEST_F(ContactsTest, ReasonsThatTakeTurnsAreToldOnceAMinuteEach) {
  size_t lines = 0;
  for (int64_t now_ms = 0; now_ms < Contacts::kTellAgainMs; now_ms += 3'000) {
    if (now_ms % 6'000 == 0) {
      contacts_.failed(kTwo, Door::kElection, now_ms % 12'000 == 0 ? "refused" : "no answer");
    }
    lines += contacts_.look(now_ms).size();
  }
  EXPECT_EQ(lines, 2u);
}

TEST_F(ContactsTest, ManyReasonsAreNotAllTold) {
  size_t lines = 0;
  for (int64_t i = 0; i < 50; ++i) {
    contacts_.failed(kTwo, Door::kElection, "reason " + std::to_string(i));
    lines += contacts_.look(i * 2).size() + contacts_.look(i * 2 + 1).size();
  }
  EXPECT_EQ(lines, Contacts::kMaxReasons);
}

}  // namespace
}  // namespace zabfs::consensus
