#include "consensus/dialler.h"

#include <gtest/gtest.h>

#include <optional>

namespace zabfs::consensus {
namespace {

using boost::asio::ip::tcp;

class DiallerTest : public testing::Test {
 protected:
  void SetUp() override {
    acceptor_.open(tcp::v4());
    acceptor_.bind({boost::asio::ip::address_v4::loopback(), 0});
    acceptor_.listen();
  }
  void TearDown() override { dialler_->stop(); }
  Dialler::Target target(const std::string& host) {
    return {ServerId{2}, true, host, acceptor_.local_endpoint().port()};
  }
  bool connects(const Dialler::Target& to) {
    std::optional<bool> connected;
    dialler_->connect(
        to, [&](std::shared_ptr<Dialler::Socket> socket) { connected = socket != nullptr; });
    while (!connected) io_.run_one();
    return *connected;
  }
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{
      io_.get_executor()};
  tcp::acceptor acceptor_{io_};
  std::string log_;
  std::shared_ptr<Dialler> dialler_ = std::make_shared<Dialler>(
      io_, ServerId{1}, [this](LogLevel, const std::string& line) { log_ += line + "\n"; });
};

TEST_F(DiallerTest, ReachesAddressesAndNames) {
  EXPECT_TRUE(connects(target("127.0.0.1")));
  EXPECT_TRUE(connects(target("localhost")));  // ::1 first, where nobody listens, or not at all
  EXPECT_TRUE(connects(target("localhost")));
  EXPECT_EQ(log_, "");
}

TEST_F(DiallerTest, WhereNobodyListensItComesToNothing) {
  Dialler::Target to = target("127.0.0.1");
  acceptor_.close();
  EXPECT_FALSE(connects(to));
}

TEST_F(DiallerTest, ANameThatDoesNotResolveIsNamedOnce) {
  std::string name(70, 'x');  // longer than any can be: no name server is asked
  EXPECT_FALSE(connects(target(name)));
  EXPECT_FALSE(connects(target(name)));
  EXPECT_NE(log_.find(name + ", the name of server 2, does not resolve: "), std::string::npos);
  EXPECT_EQ(log_.find('\n'), log_.size() - 1);
}

TEST_F(DiallerTest, SaysWhyADialCameToNothing) {
  std::vector<std::string> whys;
  dialler_->tell_troubles_to([&](const Dialler::Target& to, const std::string& why) {
    EXPECT_EQ(to.id, ServerId{2});
    whys.push_back(why);
  });
  EXPECT_TRUE(connects(target("127.0.0.1")));
  EXPECT_TRUE(whys.empty());
  std::string port = std::to_string(acceptor_.local_endpoint().port());
  Dialler::Target to = target("127.0.0.1");
  to.door = Door::kQuorum;
  acceptor_.close();
  EXPECT_FALSE(connects(to));
  std::string name(70, 'x');
  to.host = name;
  EXPECT_FALSE(connects(to));
  ASSERT_EQ(whys.size(), 2u);
  EXPECT_EQ(whys[0],
            "its quorum port 127.0.0.1:" + port + " refuses connections (does its zabfsd run?)");
  EXPECT_TRUE(whys[1].starts_with("its name " + name + " does not resolve: ")) << whys[1];
}

TEST_F(DiallerTest, NobodyHearsOfWhoIsNoMember) {
  bool is_told = false;
  dialler_->tell_troubles_to([&](const Dialler::Target&, const std::string&) { is_told = true; });
  Dialler::Target to = target("127.0.0.1");
  to.is_member = false;
  acceptor_.close();
  EXPECT_FALSE(connects(to));
  EXPECT_FALSE(is_told);
}

TEST_F(DiallerTest, NobodyIsReachedByAWildcard) {
  EXPECT_FALSE(connects(target("0.0.0.0")));
  EXPECT_FALSE(connects(target("::")));
  EXPECT_NE(log_.find("the address of server 2 is 0.0.0.0, by which nobody reaches it"),
            std::string::npos);
}

}  // namespace
}  // namespace zabfs::consensus
