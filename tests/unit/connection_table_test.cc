#include "fsd/wire/connection_table.h"

#include <gtest/gtest.h>

#include <boost/asio/io_context.hpp>
#include <memory>
#include <string>

namespace zabfs::fsd::wire {
namespace {

using namespace std::chrono_literals;
using Verdict = ConnectionTable::Verdict;

// Its connections have sockets that are not open, and nobody runs the io context.
class ConnectionTableTest : public testing::Test, public ConnectionOwner {
 protected:
  ConnectionTable::Admission admit(const std::string& address = "10.0.0.1",
                                   Clock::duration later = {}) {
    return table_->admit(address, Clock::now() + later, [&](uint64_t number) {
      Connection::Server server{*this, budget_, stats_, nobody_, nullptr};
      return std::make_shared<Connection>(server, Connection::Socket(io_), number,
                                          Visitor{address, 4'000, false, {}});
    });
  }
  void limit(size_t per_address, size_t all) {
    table_ = std::make_unique<ConnectionTable>(ConnectionTable::Limits{per_address, all});
  }
  // Its client has said a word.
  ConnectionPtr admit_one_that_speaks(const std::string& address = "10.0.0.1") {
    ConnectionPtr connection = admit(address).connection;
    table_->spoke(connection->number());
    return connection;
  }

  void received(const ConnectionPtr&) override {}
  void may_drain(const ConnectionPtr&) override {}
  void closed(const ConnectionPtr&) override {}
  void warn(const std::string&) override {}

  boost::asio::io_context io_;
  Budget budget_{1'000'000, {100, 50'000, 0}};
  ServerStats stats_;
  const std::string nobody_;
  std::unique_ptr<ConnectionTable> table_;
};

TEST_F(ConnectionTableTest, AnAddressHasSoManyConnectionsAndOthersHaveTheirOwn) {
  limit(2, 100);
  ConnectionPtr first = admit_one_that_speaks();
  admit_one_that_speaks();
  EXPECT_EQ(admit().verdict, Verdict::kTooManyFromAddress);
  EXPECT_EQ(admit("10.0.0.2").verdict, Verdict::kAdmitted);
  EXPECT_TRUE(table_->erase(*first));
  EXPECT_FALSE(table_->erase(*first));
  EXPECT_EQ(admit().verdict, Verdict::kAdmitted);
}

TEST_F(ConnectionTableTest, AllTogetherHaveSoManyConnections) {
  limit(0, 3);
  ConnectionPtr first = admit_one_that_speaks();
  for (int i = 0; i < 2; ++i) admit_one_that_speaks();
  EXPECT_EQ(admit().verdict, Verdict::kTooManyInAll);
  EXPECT_EQ(table_->size(), 3u);
  table_->erase(*first);
  EXPECT_EQ(admit().verdict, Verdict::kAdmitted);
}

TEST_F(ConnectionTableTest, TheOldestThatHasBeenSilentForAWhileGivesWayToWhoComes) {
  limit(0, 3);
  ConnectionPtr speaks = admit_one_that_speaks();
  ConnectionPtr oldest = admit().connection;
  admit();
  EXPECT_EQ(admit().verdict, Verdict::kTooManyInAll);  // it may still speak
  ConnectionTable::Admission admission = admit("10.0.0.1", 2s);
  EXPECT_EQ(admission.verdict, Verdict::kAdmitted);
  EXPECT_EQ(admission.displaced, oldest);
}

TEST_F(ConnectionTableTest, WhoHasSpokenNeverGivesWay) {
  limit(0, 2);
  admit_one_that_speaks();
  admit_one_that_speaks();
  EXPECT_EQ(admit("10.0.0.1", 1h).verdict, Verdict::kTooManyInAll);
}

TEST_F(ConnectionTableTest, SilentConnectionsAreAQuarterOfAllAtTheMost) {
  limit(0, 100);
  ConnectionPtr oldest = admit().connection;
  for (int i = 1; i < 25; ++i) EXPECT_EQ(admit().displaced, nullptr);
  ConnectionTable::Admission admission = admit();
  EXPECT_EQ(admission.displaced, oldest);  // at once, though there is room
  EXPECT_EQ(admission.verdict, Verdict::kAdmitted);
}

TEST_F(ConnectionTableTest, WhoIsRefusedForItsAddressDisplacesNobody) {
  limit(25, 100);
  for (int i = 0; i < 25; ++i) admit();
  ConnectionTable::Admission refused = admit();
  EXPECT_EQ(refused.verdict, Verdict::kTooManyFromAddress);
  EXPECT_EQ(refused.displaced, nullptr);
  EXPECT_EQ(admit("10.0.0.2").displaced, table_->find(1));  // the oldest is still the next
}

TEST_F(ConnectionTableTest, AConnectionIsFoundByItsNumberUntilItIsErased) {
  limit(0, 10);
  ConnectionPtr first = admit().connection, second = admit().connection;
  EXPECT_NE(first->number(), second->number());
  EXPECT_EQ(table_->find(first->number()), first);
  EXPECT_EQ(table_->all().size(), 2u);
  table_->erase(*first);
  EXPECT_EQ(table_->find(first->number()), nullptr);
}

}  // namespace
}  // namespace zabfs::fsd::wire
