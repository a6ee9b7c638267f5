#include "fsd/wire/authenticator.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

#include "fsd/wire/auth.h"
#include "fsd/wire/messages.h"
#include "tree/identities.h"
#include "tree/jute.h"

namespace zabfs::fsd::wire {
namespace {

using tree::Error;

// One connection, whose socket is not open.
class AuthenticatorTest : public testing::Test, public ConnectionOwner {
 protected:
  AuthenticatorTest() {
    config_.sasl_users = {{"ann", "secret"}};
    Connection::Server server{*this, budget_, stats_, config_.x509_super, nullptr};
    connection_ =
        std::make_shared<Connection>(server, Connection::Socket(io_), 1,
                                     Visitor{"10.0.0.1", 4'000, false, {{"ip", "10.0.0.1"}}});
    connection_->lock()->open(tree::SessionId{5}, 10'000);
  }
  void add_auth(const std::string& scheme, const std::string& credentials) {
    std::string body;
    tree::jute::Writer out(body);
    out.i32(0);
    out.string(scheme);
    out.buffer(credentials);
    Connection::Locked locked(*connection_);
    authenticator_.add_auth(*connection_, locked, 7, body);
  }
  // What the client proved, with the scheme first.
  std::string proven() {
    std::string text;
    for (const tree::Id& id : connection_->lock()->client().identities) {
      text += id.scheme + ":" + id.id + " ";
    }
    return text;
  }
  // The error in the answer.
  Error answered() {
    std::string bytes(connection_->lock()->out().next());
    tree::jute::Reader in(bytes);
    in.i32();
    in.i32();
    in.i64();
    return static_cast<Error>(in.i32());
  }
  bool is_over() { return connection_->lock()->phase() == Phase::kOver; }

  void received(const ConnectionPtr&) override {}
  void may_drain(const ConnectionPtr&) override {}
  void closed(const ConnectionPtr&) override {}
  void warn(const std::string& line) override { warned_ += line + "\n"; }

  boost::asio::io_context io_;
  Budget budget_{1'000'000, {100, 50'000, 0}};
  ServerStats stats_;
  WireConfig config_;
  Authenticator authenticator_{config_, [] { return 7; }};
  ConnectionPtr connection_;
  std::string warned_;
};

TEST_F(AuthenticatorTest, WhatAClientProvesIsAddedToWhatItsDoorKnows) {
  add_auth("digest", "ann:secret");
  EXPECT_EQ(answered(), Error::kOk);
  EXPECT_EQ(proven(), "ip:10.0.0.1 digest:" + digest_id("ann:secret") + " ");
  EXPECT_FALSE(is_over());
}

TEST_F(AuthenticatorTest, ASchemeThatNobodyKnowsEndsTheConnectionWithAnAnswer) {
  add_auth("magic", "word");
  EXPECT_EQ(answered(), Error::kAuthFailed);
  EXPECT_TRUE(is_over());
  EXPECT_NE(warned_.find("10.0.0.1:4000 failed to authenticate: scheme \"magic\""),
            std::string::npos)
      << warned_;
}

TEST_F(AuthenticatorTest, AMalformedAddAuthEndsTheConnectionWithoutAnAnswer) {
  Connection::Locked locked(*connection_);
  authenticator_.add_auth(*connection_, locked, 7, "short");
  EXPECT_EQ(locked->phase(), Phase::kOver);
  EXPECT_EQ(locked->out().unsent(), 0u);
}

TEST_F(AuthenticatorTest, OneIdentityTooManyEndsTheConnection) {
  for (size_t i = 1; i < tree::kMaxIdentities; ++i) add_auth("digest", std::to_string(i) + ":x");
  EXPECT_FALSE(is_over());
  add_auth("digest", "one more:x");
  EXPECT_TRUE(is_over());
}

TEST_F(AuthenticatorTest, SaslGivesAChallengeAndTheWrongAnswerEndsTheConnection) {
  std::string body;
  tree::jute::Writer(body).string("");
  Connection::Locked locked(*connection_);
  authenticator_.step_sasl(*connection_, locked, 7, body);
  EXPECT_NE(locked->out().next().find("nonce=\"0000000000000007"), std::string::npos);
  EXPECT_EQ(locked->phase(), Phase::kOpen);
  authenticator_.step_sasl(*connection_, locked, 8, body);
  EXPECT_EQ(locked->phase(), Phase::kOver);
}

// As for Java, so that clients may be given their passwords before servers are.
TEST_F(AuthenticatorTest, WhereThereAreNoUsersOfSaslTheClientGoesOnWithoutOne) {
  config_.sasl_users.clear();
  std::string body;
  tree::jute::Writer(body).string("");
  Connection::Locked locked(*connection_);
  authenticator_.step_sasl(*connection_, locked, 7, body);
  EXPECT_EQ(locked->phase(), Phase::kOpen);
  std::string answer(locked->out().next());
  tree::jute::Reader in(answer);
  in.i32();  // the length
  EXPECT_EQ(in.i32(), 7);
  in.i64();
  EXPECT_EQ(in.i32(), 0);
  EXPECT_FALSE(in.buffer().has_value());
  EXPECT_TRUE(in.ok() && in.rest().empty());
}

TEST_F(AuthenticatorTest, WhereASchemeIsEnforcedNobodyAsksBeforeItHasProvenThat) {
  config_.enforced_auth = {"digest", "sasl"};
  add_auth("digest", "ann:secret");
  {
    Connection::Locked locked(*connection_);
    EXPECT_TRUE(authenticator_.may_ask(*connection_, locked, 8));
    locked->client().identities = {{"ip", "10.0.0.1"}};
    EXPECT_FALSE(authenticator_.may_ask(*connection_, locked, 9));
  }
  EXPECT_TRUE(is_over());
  EXPECT_NE(warned_.find("it has not authenticated by digest or sasl"), std::string::npos);
}

}  // namespace
}  // namespace zabfs::fsd::wire
