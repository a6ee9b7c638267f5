// A restore on one replica whose disk and clock do what the test says.
#include "fsd/admin/restore.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "unit/session_fixture.h"

namespace zabfs::fsd::admin {
namespace {

using tree::Txn;

class RestoreTest : public SessionTest {
 protected:
  void apply(Txn txn) {
    txn.header.zxid = tree::Zxid{++zxid_};
    wanted_->apply(txn, nullptr);
  }
  void want(const std::string& path) {
    Txn txn;
    txn.header.type = OpCode::kCreate;
    txn.body = tree::CreateTxn{path, "", tree::open_acl(), false, -1, 0};
    apply(std::move(txn));
  }
  void want_data(const std::string& path, const std::string& data) {
    Txn txn;
    txn.header.type = OpCode::kSetData;
    txn.body = tree::SetDataTxn{path, data, 1};
    apply(std::move(txn));
  }
  void restore() {
    on_strand([this] {
      std::make_shared<Restore>(*this, wanted_, [this](const StatusOr<size_t>& changes) {
        ends_.push_back(changes.ok());
      })->start();
    });
  }

  std::shared_ptr<tree::Tree> wanted_ = std::make_shared<tree::Tree>();
  int64_t zxid_ = 0;
  std::vector<bool> ends_;  // whether all went well
};

TEST_F(RestoreTest, ManyZnodesTakeSeveralTurns) {
  for (int n = 0; n < 3'000; ++n) want("/n" + std::to_string(n));
  restore();
  run();
  EXPECT_TRUE(ends_.empty());
  live(1'000);
  EXPECT_EQ(ends_, std::vector<bool>{true});
  EXPECT_TRUE(is_there("/n2999"));
}

TEST_F(RestoreTest, EndsOnceWhenARequestFailsBetweenTurns) {
  want_data("/", std::string(config_.prepare.max_txn_bytes + 1, 'x'));
  for (int n = 0; n < 3'000; ++n) want("/n" + std::to_string(n));
  restore();
  run();  // the first request, and not the next turn
  live(1'000);
  EXPECT_EQ(ends_, std::vector<bool>{false});
}

}  // namespace
}  // namespace zabfs::fsd::admin
