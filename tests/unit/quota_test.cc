#include "tree/quota.h"

#include "tree/snapshot.h"
#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

class Quota : public TreeFixture {
 protected:
  static PrepareOptions enforced() {
    PrepareOptions options;
    options.enforce_quota = true;
    return options;
  }
  Quota() {
    create("/q", "12345");
    create("/q/a", "xy");
    create("/zookeeper/quota/q");
  }
  void limit(std::string_view limits) {
    create("/zookeeper/quota/q/zookeeper_limits", limits);
    create("/zookeeper/quota/q/zookeeper_stats", "count=0,bytes=0");
  }
  // What a leader that enforces quotas says to a request, which is not applied.
  Error error_of(OpCode type, std::string body) {
    Preparer strict(tree_, enforced());
    strict.reset();
    Request request{SessionId{}, 1, type, std::move(body), superuser()};
    std::vector<PreparedTxn> txns = strict.prepare(request, zxid_.next(), time_ms_);
    std::optional<Txn> txn = decode_txn(txns.back().bytes);
    const auto* error = std::get_if<ErrorTxn>(&txn->body);
    return error == nullptr ? Error::kOk : error->error;
  }
  Error write(std::string path, std::string data) {
    ExtWrite ext;
    ext.path = std::move(path);
    ext.data = std::move(data);
    return error_of(OpCode::kExtWrite, encode(ext));
  }
  Error append(std::string path, std::string data) {
    ExtAppend ext;
    ext.path = std::move(path);
    ext.data = std::move(data);
    return error_of(OpCode::kExtAppend, encode(ext));
  }
  Error rename(std::string from, std::string to, bool exchange = false) {
    ExtRename ext;
    ext.from = std::move(from);
    ext.to = std::move(to);
    ext.exchange = exchange;
    return error_of(OpCode::kExtRename, encode(ext));
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
  limit("count=2,bytes=1=;byteHardLimit=10;countHardLimit=3");
  EXPECT_EQ(error_of(OpCode::kCreate, create_body("/q/b", "123", open_acl(), 0)), Error::kOk);
  EXPECT_EQ(error_of(OpCode::kCreate, create_body("/q/b", "1234", open_acl(), 0)),
            Error::kQuotaExceeded);
  EXPECT_EQ(error_of(OpCode::kSetData, set_data_body("/q/a", "123456", 7)), Error::kQuotaExceeded);
  create("/q/b");
  EXPECT_EQ(error_of(OpCode::kCreate, create_body("/q/c", "", open_acl(), 0)),
            Error::kQuotaExceeded);
}

TEST_F(Quota, HoldsForMounts) {
  limit("count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=-1");  // 7 bytes are there
  EXPECT_EQ(write("/q/a", "12345"), Error::kOk);
  EXPECT_EQ(write("/q/a", "123456"), Error::kQuotaExceeded);
  EXPECT_EQ(append("/q/a", "123"), Error::kOk);
  EXPECT_EQ(append("/q/a", "1234"), Error::kQuotaExceeded);
  create("/r");
  EXPECT_EQ(write("/r", "12345678901"), Error::kOk);
}

TEST_F(Quota, AMountMayShrinkWhatIsOverIt) {
  limit("count=-1,bytes=-1=;byteHardLimit=3;countHardLimit=1");
  EXPECT_EQ(write("/q/a", "z"), Error::kOk);
  EXPECT_EQ(write("/q/a", "zz"), Error::kOk);
  EXPECT_EQ(append("/q/a", "z"), Error::kQuotaExceeded);
  EXPECT_EQ(rename("/q/a", "/q/b"), Error::kOk);
  ExtRemove remove{"/q/a"};
  EXPECT_EQ(error_of(OpCode::kExtRemove, encode(remove)), Error::kOk);
}

TEST_F(Quota, CountsWhatAMountMovesIntoItsDirectory) {
  limit("count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=4");  // 2 znodes and 7 bytes are there
  create("/d");
  create("/d/file", "1234");
  EXPECT_EQ(rename("/d/file", "/q/file"), Error::kQuotaExceeded);
  EXPECT_EQ(rename("/d/file", "/q/a"), Error::kOk);  // in place of 2 bytes
  EXPECT_EQ(rename("/q/a", "/d/a"), Error::kOk);
  set("/d/file", "123456");
  EXPECT_EQ(rename("/d/file", "/q/a"), Error::kQuotaExceeded);
  set("/d/file", "");
  EXPECT_EQ(rename("/d", "/q/d"), Error::kOk);
  create("/d/another");
  EXPECT_EQ(rename("/d", "/q/d"), Error::kQuotaExceeded);
}

TEST_F(Quota, CountsWhatAMountExchanges) {
  limit("count=-1,bytes=-1=;byteHardLimit=10;countHardLimit=3");  // 2 znodes and 7 bytes are there
  create("/d", "1234");
  create("/d/file", "1");
  EXPECT_EQ(rename("/d", "/q/a", true), Error::kOk);  // 3 znodes and 10 bytes
  EXPECT_EQ(rename("/q/a", "/d", true), Error::kOk);
  set("/d", "12345");
  EXPECT_EQ(rename("/d", "/q/a", true), Error::kQuotaExceeded);
  EXPECT_EQ(rename("/q/a", "/d", true), Error::kQuotaExceeded);
  create("/q/b");
  set("/d", "");
  EXPECT_EQ(rename("/d", "/q/a", true), Error::kQuotaExceeded);
  EXPECT_EQ(rename("/q/a", "/q/b", true), Error::kOk);
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
  std::unique_ptr<Tree> loaded = loader.finish(zxid_);
  EXPECT_EQ(loaded->quota_above("/q/a/b/c"), "/q");
  EXPECT_EQ(loaded->quota_above("/r"), "");
  remove("/zookeeper/quota/q/zookeeper_limits");
  EXPECT_EQ(tree_.quota_above("/q/a"), "");
}

}  // namespace
}  // namespace zabfs::tree
