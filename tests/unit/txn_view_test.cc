#include "fsd/fuse/txn_view.h"

#include <gtest/gtest.h>

#include "tests/unit/tree_fixture.h"

namespace zabfs::fsd {
namespace {

using tree::OpCode;

class TxnBatchTest : public tree::TreeFixture {
 protected:
  void create_later(std::string_view path, std::string_view data) {
    prepare(OpCode::kCreate2, tree::create_body(path, data, tree::open_acl(), 0));
  }
  void set_later(std::string_view path, std::string_view data) {
    prepare(OpCode::kSetData, tree::set_data_body(path, data, tree::kAnyVersion));
  }
  void rename_later(const std::string& from, const std::string& to) {
    tree::ExtRename rename;
    rename.from = from;
    rename.to = to;
    rename.from_czxid = rename.to_czxid = tree::kAnyCzxid;
    prepare(OpCode::kExtRename, encode(rename));
  }
  void exchange_later(const std::string& one, const std::string& other) {
    tree::ExtRename rename;
    rename.from = one;
    rename.to = other;
    rename.from_czxid = rename.to_czxid = tree::kAnyCzxid;
    rename.exchange = true;
    prepare(OpCode::kExtRename, encode(rename));
  }
  // The renames in what was prepared, each as "n: from -> to, version".
  std::vector<std::string> renames() {
    txns_.clear();
    for (const tree::PreparedTxn& prepared : prepared_) {
      txns_.push_back(*tree::decode_txn(prepared.bytes));
    }
    TxnBatch batch(txns_, tree_);
    std::vector<std::string> seen;
    for (size_t n = 0; n < txns_.size(); ++n) {
      std::optional<RenameSeen> rename = batch.rename_in(n);
      if (!rename) continue;
      seen.push_back(std::to_string(n) + ": " + rename->from + " -> " + rename->to + ", " +
                     std::to_string(rename->version) +
                     (rename->is_exchange() ? " by " + rename->aside : ""));
    }
    return seen;
  }
  std::vector<tree::Txn> txns_;
};

using Seen = std::vector<std::string>;

TEST_F(TxnBatchTest, ARenameIsSeenWhereItsSourceIsOfTheSameBatch) {
  create("/f", "old");
  create_later("/tmp", "");
  set_later("/tmp", "new");
  rename_later("/tmp", "/f");
  EXPECT_EQ(renames(), Seen({"2: /tmp -> /f, 1"}));
}

TEST_F(TxnBatchTest, ToANewNameAndOn) {
  create("/tmp", "one");
  set_later("/tmp", "two");
  rename_later("/tmp", "/a");
  set_later("/a", "three");
  rename_later("/a", "/b");
  EXPECT_EQ(renames(), Seen({"1: /tmp -> /a, 0", "3: /a -> /b, 0"}));
}

TEST_F(TxnBatchTest, OfADirectoryWithWhatIsBelow) {
  create("/d", "");
  create_later("/d/f", "x");
  rename_later("/d", "/e");
  EXPECT_EQ(renames(), Seen({"1: /d -> /e, 0"}));
}

TEST_F(TxnBatchTest, AnExchangeOfDirectories) {
  create("/a", "");
  create("/a/f", "x");
  create("/b", "");
  exchange_later("/a", "/b");
  EXPECT_EQ(renames(), Seen({"0: /a -> /b, 0 by /b.zabfs-exchange"}));
}

TEST_F(TxnBatchTest, OtherTransactionsAreNone) {
  create("/f", "same");
  create("/g", "other");
  prepare(OpCode::kDelete, tree::delete_body("/f", tree::kAnyVersion));
  create_later("/f", "same");
  set_later("/g", "same");
  EXPECT_EQ(renames(), Seen());
}

}  // namespace
}  // namespace zabfs::fsd
