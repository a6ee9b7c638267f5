// A tree and a leader's preparer, driven by requests: what every member would apply.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tree/prepare.h"
#include "tree/tree.h"

namespace zabfs::tree {

class TreeFixture : public testing::Test {
 protected:
  TreeFixture() : preparer_(tree_, with_ttl()) { preparer_.reset(); }

  static PrepareOptions with_ttl() {
    PrepareOptions options;
    options.extended_types = true;
    return options;
  }

  // Prepares and applies one request; the outcome of its last txn.
  Outcome run(OpCode type, std::string body, SessionId session = {},
              const Identities& identities = superuser()) {
    prepare(type, std::move(body), session, identities);
    return apply_all();
  }
  void prepare(OpCode type, std::string body, SessionId session = {},
               const Identities& identities = superuser()) {
    Request request{session, ++cxid_, type, std::move(body), identities};
    for (PreparedTxn& txn : preparer_.prepare(request, zxid_.next(), time_ms_ += 10)) {
      zxid_ = txn.zxid;
      prepared_.push_back(std::move(txn));
    }
  }
  Outcome apply_all() {
    Outcome outcome;
    changes_.clear();
    for (const PreparedTxn& prepared : prepared_) {
      std::optional<Txn> txn = decode_txn(prepared.bytes);
      EXPECT_TRUE(txn.has_value());
      outcome = tree_.apply(*txn, &changes_);
      preparer_.applied(prepared.zxid);
    }
    prepared_.clear();
    EXPECT_TRUE(tree_.digest_agrees());
    return outcome;
  }
  Outcome create(std::string_view path, std::string_view data = "", int32_t flags = 0,
                 SessionId session = {}) {
    return run(OpCode::kCreate2, create_body(path, data, open_acl(), flags), session);
  }
  Outcome set(std::string_view path, std::string_view data, int32_t version = kAnyVersion) {
    return run(OpCode::kSetData, set_data_body(path, data, version));
  }
  Outcome remove(std::string_view path, int32_t version = kAnyVersion) {
    return run(OpCode::kDelete, delete_body(path, version));
  }
  SessionId open_session(int64_t id) {
    run(OpCode::kCreateSession, create_session_body(1000), SessionId{id});
    return SessionId{id};
  }
  Stat stat(std::string_view path) { return tree_.stat_of(*tree_.find(path)); }
  std::string data(std::string_view path) { return std::string(tree_.find(path)->data.view()); }

  Tree tree_;
  Preparer preparer_;
  Zxid zxid_ = Zxid::make(1, 0);
  int64_t time_ms_ = 1'000'000;
  int32_t cxid_ = 0;
  std::vector<PreparedTxn> prepared_;
  std::vector<Change> changes_;
};

}  // namespace zabfs::tree
