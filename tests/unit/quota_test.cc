#include "tree/quota.h"

#include "tree/snapshot.h"
#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

class Quota : public TreeFixture {
 protected:
  Quota() {
    create("/q", "12345");
    create("/q/a", "xy");
    create("/zookeeper/quota/q");
  }
  void limit(std::string_view limits) {
    create("/zookeeper/quota/q/zookeeper_limits", limits);
    create("/zookeeper/quota/q/zookeeper_stats", "count=0,bytes=0");
  }
  std::string usage() { return data("/zookeeper/quota/q/zookeeper_stats"); }
};

TEST_F(Quota, TextIsJavas) {
  EXPECT_EQ((QuotaTrack{3, 7, -1, -1}.text()), "count=3,bytes=7");
  EXPECT_EQ((QuotaTrack{3, -1, 5, 9}.text()), "count=3,bytes=-1=;byteHardLimit=9;countHardLimit=5");
  QuotaTrack track = QuotaTrack::parse("count=3,bytes=-1=;byteHardLimit=9;countHardLimit=5");
  EXPECT_EQ(track.count, 3);
  EXPECT_EQ(track.bytes, -1);
  EXPECT_EQ(track.hard_bytes, 9);
  EXPECT_EQ(track.hard_count, 5);
  EXPECT_EQ(QuotaTrack::parse("count=x,,;bytes").count, -1);
}

TEST_F(Quota, UsageIsCountedWhenTheStatsAreMadeAndFollows) {
  limit("count=10,bytes=100");
  EXPECT_EQ(usage(), "count=2,bytes=7");
  create("/q/a/b", "z");
  EXPECT_EQ(usage(), "count=3,bytes=8");
  set("/q/a", "");
  EXPECT_EQ(usage(), "count=3,bytes=6");
  remove("/q/a/b");
  EXPECT_EQ(usage(), "count=2,bytes=5");
  create("/other", "large");
  EXPECT_EQ(usage(), "count=2,bytes=5");
  EXPECT_EQ(stat("/zookeeper/quota/q/zookeeper_stats").version, 0);
}

TEST_F(Quota, OnlyHardLimitsRefuse) {
  PrepareOptions options;
  options.enforce_quota = true;
  Preparer strict(tree_, options);
  strict.reset();
  limit("count=2,bytes=1=;byteHardLimit=10;countHardLimit=3");
  strict.reset();
  auto error_of = [&](OpCode type, std::string body) {
    Request request{SessionId{}, 1, type, std::move(body), superuser()};
    std::vector<PreparedTxn> txns = strict.prepare(request, zxid_.next(), time_ms_);
    std::optional<Txn> txn = decode_txn(txns.back().bytes);
    const auto* error = std::get_if<ErrorTxn>(&txn->body);
    strict.reset();
    return error == nullptr ? Error::kOk : error->error;
  };
  EXPECT_EQ(error_of(OpCode::kCreate, create_body("/q/b", "123", open_acl(), 0)), Error::kOk);
  EXPECT_EQ(error_of(OpCode::kCreate, create_body("/q/b", "1234", open_acl(), 0)),
            Error::kQuotaExceeded);
  EXPECT_EQ(error_of(OpCode::kSetData, set_data_body("/q/a", "123456", 7)), Error::kQuotaExceeded);
  create("/q/b");
  strict.reset();
  EXPECT_EQ(error_of(OpCode::kCreate, create_body("/q/c", "", open_acl(), 0)),
            Error::kQuotaExceeded);
}

TEST_F(Quota, IsFoundAgainInASnapshot) {
  limit("count=10,bytes=100");
  std::string bytes;
  std::unique_ptr<SnapshotCursor> cursor = tree_.begin_snapshot();
  while (cursor->next(bytes, 1 << 16)) {
  }
  cursor.reset();
  SnapshotLoader loader;
  std::string_view input = bytes;
  ASSERT_EQ(loader.feed(input), SnapshotLoader::State::kDone);
  std::unique_ptr<Tree> loaded = loader.finish(zxid_, nullptr);
  EXPECT_EQ(loaded->quota_above("/q/a/b/c"), "/q");
  EXPECT_EQ(loaded->quota_above("/r"), "");
  remove("/zookeeper/quota/q/zookeeper_limits");
  EXPECT_EQ(tree_.quota_above("/q/a"), "");
}

}  // namespace
}  // namespace zabfs::tree
