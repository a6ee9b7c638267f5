#include "consensus/pending_requests.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace zabfs::consensus {
namespace {

constexpr SessionId kSession{5};
constexpr Zxid kAttachment = Zxid::make(1, 3);

class PendingRequestsTest : public testing::Test {
 protected:
  static tree::Request request(int32_t cxid, std::string body = "") {
    tree::Request made;
    made.session = kSession;
    made.cxid = cxid;
    made.type = tree::OpCode::kSetData;
    made.body = std::move(body);
    made.attachment = kAttachment;
    return made;
  }
  static tree::Request write_at_version(int32_t cxid, int32_t version) {
    tree::ExtWrite write;
    write.path = "/a";
    write.version = version;
    tree::Request made = request(cxid, tree::encode(write));
    made.type = tree::OpCode::kExtWrite;
    return made;
  }
  static tree::Request attach(int32_t cxid) {
    tree::Request made = request(cxid);
    made.type = tree::OpCode::kExtAttach;
    return made;
  }
  static tree::TxnHeader txn_of(int32_t cxid) {
    tree::TxnHeader header;
    header.session = kSession;
    header.cxid = cxid;
    return header;
  }
  // Its completion notes the cxid.
  PendingRequests::Number add(tree::Request made, bool at_once = false) {
    int32_t cxid = made.cxid;
    return pending_.add(
        std::move(made), [this, cxid](const tree::Outcome&) { answered_.push_back(cxid); },
        at_once);
  }
  bool answer(const std::optional<Completion>& done) {
    if (done) (*done)(tree::Outcome{});
    return done.has_value();
  }
  // Those to be sent again, and those that are given up, by their numbers.
  std::vector<PendingRequests::Number> resent(const std::set<PendingRequests::Key>& outstanding) {
    return decided(outstanding, false);
  }
  std::vector<PendingRequests::Number> given_up() { return decided({}, true); }

  PendingRequests pending_{3, 100};
  std::vector<int32_t> answered_;

 private:
  std::vector<PendingRequests::Number> decided(const std::set<PendingRequests::Key>& outstanding,
                                               bool gives_up) {
    std::vector<PendingRequests::Number> numbers;
    for (const PendingRequests::Decision& decision : pending_.decide(outstanding)) {
      if (decision.gives_up == gives_up) numbers.push_back(decision.number);
    }
    return numbers;
  }
};

// ---- limits

TEST_F(PendingRequestsTest, HasRoomForNoMoreRequestsThanItsLimit) {
  add(request(1));
  add(request(2));
  EXPECT_TRUE(pending_.has_room_for(request(3)));
  add(request(3));
  EXPECT_FALSE(pending_.has_room_for(request(4)));
  EXPECT_EQ(pending_.size(), 3u);
  EXPECT_TRUE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_TRUE(pending_.has_room_for(request(4)));
}

TEST_F(PendingRequestsTest, HasRoomForNoMoreBytesThanItsLimit) {
  PendingRequests::Number number = add(request(1, std::string(60, 'x')));
  EXPECT_EQ(pending_.bytes(), 60u);
  EXPECT_TRUE(pending_.has_room_for(request(2, std::string(40, 'x'))));
  EXPECT_FALSE(pending_.has_room_for(request(2, std::string(41, 'x'))));
  EXPECT_TRUE(answer(pending_.take(number)));
  EXPECT_EQ(pending_.bytes(), 0u);
}

// ---- answers

TEST_F(PendingRequestsTest, ATxnAnswersItsRequestOnce) {
  add(request(1));
  add(request(2));
  EXPECT_TRUE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_FALSE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_EQ(answered_, (std::vector<int32_t>{1}));
  EXPECT_EQ(pending_.size(), 1u);
}

TEST_F(PendingRequestsTest, ATxnOfAnotherSessionAnswersNothing) {
  add(request(1));
  tree::TxnHeader other = txn_of(1);
  other.session = SessionId{6};
  EXPECT_FALSE(answer(pending_.take_committed(other, false)));
}

TEST_F(PendingRequestsTest, ARequestThatWantsItsAnswerAtOnceGetsItThenAndNotLater) {
  add(request(1), true);
  add(request(2), false);
  EXPECT_FALSE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_FALSE(answer(pending_.take_committed(txn_of(2), true)));
  EXPECT_TRUE(answer(pending_.take_committed(txn_of(1), true)));
  EXPECT_FALSE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_TRUE(answer(pending_.take_committed(txn_of(2), false)));
  EXPECT_EQ(answered_, (std::vector<int32_t>{1, 2}));
}

TEST_F(PendingRequestsTest, NoTxnAnswersWhatWasRefused) {
  add(request(1));
  EXPECT_TRUE(answer(pending_.take_refused({kSession, 1}, kAttachment)));
  EXPECT_FALSE(answer(pending_.take_refused({kSession, 1}, kAttachment)));
  EXPECT_FALSE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_EQ(answered_, (std::vector<int32_t>{1}));
}

TEST_F(PendingRequestsTest, ARefusalOfAnOlderAttachmentIsForAnotherRequest) {
  add(request(1));
  EXPECT_FALSE(answer(pending_.take_refused({kSession, 1}, Zxid::make(1, 2))));
  EXPECT_FALSE(answer(pending_.take_refused({kSession, 9}, kAttachment)));
  EXPECT_EQ(pending_.size(), 1u);
}

TEST_F(PendingRequestsTest, WhatTheNodeFailedIsAnsweredNoMore) {
  PendingRequests::Number number = add(request(1));
  EXPECT_TRUE(answer(pending_.take(number)));
  EXPECT_FALSE(answer(pending_.take(number)));
  EXPECT_FALSE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_TRUE(resent({}).empty());
}

TEST_F(PendingRequestsTest, ACompletionMayBeEmpty) {
  pending_.add(request(1), nullptr, false);
  std::optional<Completion> done = pending_.take_committed(txn_of(1), false);
  ASSERT_TRUE(done);
  EXPECT_FALSE(*done);
}

TEST_F(PendingRequestsTest, AttachmentsEndWithTheirLeaderAndOtherRequestsDoNot) {
  add(attach(1));
  add(request(2));
  add(attach(3));
  for (const Completion& done : pending_.take_attaching()) done(tree::Outcome{});
  EXPECT_EQ(answered_, (std::vector<int32_t>{1, 3}));
  EXPECT_TRUE(pending_.take_attaching().empty());
  EXPECT_FALSE(answer(pending_.take_committed(txn_of(1), false)));
  EXPECT_EQ(pending_.size(), 1u);
}

// ---- the next leader (ZAB.md section 4.4)

TEST_F(PendingRequestsTest, IsSentAgainInOrderOfSubmission) {
  PendingRequests::Number first = add(request(7));
  PendingRequests::Number second = add(request(2));
  EXPECT_EQ(pending_.count_send(first).cxid, 7);
  EXPECT_EQ(resent({}), (std::vector<PendingRequests::Number>{first, second}));
}

TEST_F(PendingRequestsTest, WaitsForItsFateWhereItsTxnIsInTheLog) {
  pending_.count_send(add(request(1)));
  PendingRequests::Number lost = add(request(2));
  pending_.count_send(lost);
  EXPECT_EQ(resent({{kSession, 1}}), (std::vector<PendingRequests::Number>{lost}));
  EXPECT_TRUE(answer(pending_.take_committed(txn_of(1), false)));
}

TEST_F(PendingRequestsTest, WhatWasSentBeforeASnapshotHasAnUnknownFate) {
  PendingRequests::Number sent = add(request(1));
  PendingRequests::Number held = add(request(2));
  pending_.count_send(sent);
  pending_.lose_track();
  EXPECT_EQ(given_up(), (std::vector<PendingRequests::Number>{sent}));
  EXPECT_EQ(resent({}), (std::vector<PendingRequests::Number>{held}));
}

TEST_F(PendingRequestsTest, AnUnknownFateDoesNotKeepATxnFromAnsweringIt) {
  pending_.count_send(add(request(1)));
  pending_.lose_track();
  EXPECT_TRUE(answer(pending_.take_committed(txn_of(1), false)));
}

TEST_F(PendingRequestsTest, AWriteAtAGivenVersionIsSentAgainWhateverItsFate) {
  PendingRequests::Number conditional = add(write_at_version(1, 4));
  PendingRequests::Number any = add(write_at_version(2, tree::kAnyVersion));
  pending_.count_send(conditional);
  pending_.count_send(any);
  pending_.lose_track();
  EXPECT_EQ(resent({}), (std::vector<PendingRequests::Number>{conditional}));
  EXPECT_EQ(given_up(), (std::vector<PendingRequests::Number>{any}));
}

TEST_F(PendingRequestsTest, IsGivenUpWhenAsManyLeadersHadItAsMay) {
  PendingRequests::Number number = add(write_at_version(1, 4));
  for (int i = 0; i < PendingRequests::kMaxSends; ++i) {
    EXPECT_EQ(resent({}), (std::vector<PendingRequests::Number>{number}));
    pending_.count_send(number);
  }
  EXPECT_EQ(given_up(), (std::vector<PendingRequests::Number>{number}));
}

}  // namespace
}  // namespace zabfs::consensus
