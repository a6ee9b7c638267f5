#include "fsd/fuse/request.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <string>
#include <vector>

#include "unit/recorded_replies.h"

namespace zabfs::fsd {
namespace {

class RequestTest : public testing::Test {
 protected:
  using Answers = std::vector<std::pair<fuse_req_t, std::string>>;

  RequestPtr make(char& place) {
    return std::make_shared<Request>(reinterpret_cast<fuse_req_t>(&place), replies_);
  }
  fuse_req_t first() { return reinterpret_cast<fuse_req_t>(&places_[0]); }
  fuse_req_t second() { return reinterpret_cast<fuse_req_t>(&places_[1]); }

  char places_[2] = {};
  std::shared_ptr<RecordedReplies> replies_ = std::make_shared<RecordedReplies>();
  Interrupts interrupts_;
};

TEST_F(RequestTest, IsAnsweredOnceAndThenFreed) {
  RequestPtr request = make(places_[0]);
  EXPECT_FALSE(request->is_answered());
  replies_->who.pid = 7;
  EXPECT_EQ(request->asker().pid, 7);
  request->reply(ESTALE);
  EXPECT_TRUE(request->is_answered());
  request.reset();
  EXPECT_EQ(replies_->answers, (Answers{{first(), "done 116"}}));
}

TEST_F(RequestTest, TellsHowAnOperationFailedAsAnErrno) {
  make(places_[0])->reply(FileError::kOk);
  make(places_[1])->reply(FileError::kStale);
  EXPECT_EQ(replies_->answers, (Answers{{first(), "done 0"}, {second(), "done 116"}}));
}

TEST_F(RequestTest, AnswersWhatWasAskedFor) {
  fuse_file_info info = {};
  info.fh = 7;
  make(places_[0])->reply_opened(info);
  make(places_[0])->reply_created({}, info);
  make(places_[0])->reply_written(3);
  make(places_[0])->reply_bytes("data");
  make(places_[0])->reply_lock({});
  std::vector<std::string> texts;
  for (const auto& answer : replies_->answers) texts.push_back(answer.second);
  EXPECT_EQ(texts,
            (std::vector<std::string>{"opened 7", "created 7", "written 3", "bytes data", "lock"}));
}

TEST_F(RequestTest, SaysWhenTheProcessThatAskedIsGone) {
  replies_->result = -ENOENT;
  EXPECT_EQ(make(places_[0])->reply(0), -ENOENT);
}

TEST_F(RequestTest, IsAnsweredWithAnInputOutputErrorWhenTheLastHolderForgetsIt) {
  RequestPtr request = make(places_[0]), other = request;
  request.reset();
  EXPECT_TRUE(replies_->answers.empty());
  other.reset();
  EXPECT_EQ(replies_->answers, (Answers{{first(), "done 5"}}));
}

TEST_F(RequestTest, IsNotAnsweredAfterTheSessionHasEnded) {
  RequestPtr request = make(places_[0]);
  replies_->close();
  request.reset();
  EXPECT_TRUE(replies_->answers.empty());
}

TEST_F(RequestTest, ASecondAnswerEndsTheDaemon) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  RequestPtr request = make(places_[0]);
  request->reply(0);
  EXPECT_DEATH(request->reply(0), "");
}

TEST_F(RequestTest, AnInterruptCancelsWhatWaits) {
  RequestPtr request = make(places_[0]);
  request->on_interrupt(interrupts_, [request] { request->reply(EINTR); });
  ASSERT_EQ(replies_->numbers.size(), 1u);
  interrupts_.interrupt(replies_->numbers[0]);
  EXPECT_EQ(replies_->answers, (Answers{{first(), "done 4"}}));
}

TEST_F(RequestTest, AnInterruptThatComesAfterTheAnswerDoesNothing) {
  RequestPtr request = make(places_[0]);
  bool is_cancelled = false;
  request->on_interrupt(interrupts_, [&] { is_cancelled = true; });
  request->reply(0);
  interrupts_.interrupt(replies_->numbers[0]);
  EXPECT_FALSE(is_cancelled);
}

TEST_F(RequestTest, AnInterruptReachesTheRequestThatItNames) {
  RequestPtr one = make(places_[0]), two = make(places_[1]);
  one->on_interrupt(interrupts_, [&] { one->reply(EINTR); });
  two->on_interrupt(interrupts_, [&] { two->reply(EINTR); });
  interrupts_.interrupt(replies_->numbers[1]);
  EXPECT_EQ(replies_->answers, (Answers{{second(), "done 4"}}));
  one->reply(0);
}

TEST_F(RequestTest, ARequestThatWasForgottenIsNotInterrupted) {
  RequestPtr request = make(places_[0]);
  bool is_cancelled = false;
  request->on_interrupt(interrupts_, [&] { is_cancelled = true; });
  request.reset();
  interrupts_.interrupt(replies_->numbers[0]);
  EXPECT_FALSE(is_cancelled);
}

}  // namespace
}  // namespace zabfs::fsd
