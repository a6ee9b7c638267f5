#include "tree/identities.h"
#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

class Prepare : public TreeFixture {
 protected:
  Zxid czxid(std::string_view path) { return tree_.find(path)->stat.czxid; }
  Error write(std::string_view path, Zxid identity, int32_t version, std::string text) {
    return run(OpCode::kExtWrite,
               encode(ExtWrite{std::string(path), identity, version, std::move(text), {}}))
        .error;
  }
  Error rename(std::string from, std::string to, Zxid to_czxid = kAnyCzxid) {
    return run(OpCode::kExtRename,
               encode(ExtRename{std::move(from), std::move(to), kAnyCzxid, to_czxid, false}))
        .error;
  }
  void make_file(std::string_view path, std::string_view text, uint32_t mode = 0644) {
    PosixEntry posix{Kind::kFile, mode, 1, 2, {}, 0};
    run(OpCode::kCreate, create_body(path, text, with_posix({}, posix), 0));
  }
};

TEST_F(Prepare, SequenceNumbersComeFromTheParentsStoredCversion) {
  create("/s");
  EXPECT_EQ(create("/s/a-", "", kCreateSequential).path, "/s/a-0000000000");
  create("/s/plain");
  EXPECT_EQ(create("/s/", "", kCreateSequential).path, "/s/0000000002");
  remove("/s/plain");
  EXPECT_EQ(create("/s/a-", "", kCreateSequential).path, "/s/a-0000000003");
}

TEST_F(Prepare, ARequestWithTooManyIdentitiesIsRefused) {
  Identities many(kMaxForwardedIdentities, {"digest", "a:b"});
  std::string body = create_body("/a", "", {{kPermAll, {"auth", ""}}}, 0);
  EXPECT_EQ(run(OpCode::kCreate, body, {}, many).error, Error::kOk);
  many.push_back({"digest", "a:b"});
  EXPECT_EQ(run(OpCode::kSetData, set_data_body("/a", "", -1), {}, many).error, Error::kAuthFailed);
}

// A create's body with an ACL of `count` entries by the word of it, and one entry in truth.
std::string body_with_acl(int32_t count, std::optional<std::string_view> path,
                          std::optional<std::string_view> id, int32_t flags) {
  std::string body;
  jute::Writer out(body);
  out.buffer(path);
  out.string("");
  out.i32(count);
  if (count > 0) {
    out.i32(kPermAll);
    out.string("world");
    out.buffer(id);
  }
  out.i32(flags);
  return body;
}

TEST_F(Prepare, ANullIsMalformedAndANegativeCountIsNone) {
  EXPECT_EQ(run(OpCode::kCreate, body_with_acl(1, "/a", "anyone", 0)).error, Error::kOk);
  EXPECT_EQ(run(OpCode::kCreate, body_with_acl(1, "/b", std::nullopt, 0)).error,
            Error::kMarshallingError);
  EXPECT_EQ(run(OpCode::kCreate, body_with_acl(1, std::nullopt, "anyone", 0)).error,
            Error::kMarshallingError);
  EXPECT_EQ(run(OpCode::kCreate, body_with_acl(-7, "/b", "anyone", 0)).error, Error::kInvalidAcl);
  std::string null_path("\xff\xff\xff\xff\xff\xff\xff\xff", 8);
  EXPECT_EQ(run(OpCode::kDelete, null_path).error, Error::kMarshallingError);
  // In a multi such a path spoils all of it, wherever it is; such an id only if it is come to.
  MultiOp fails{OpCode::kDelete, delete_body("/none", -1)};
  MultiOp null_id{OpCode::kCreate, body_with_acl(1, "/b", std::nullopt, 0)};
  EXPECT_EQ(run(OpCode::kMulti, multi_body({fails, {OpCode::kDelete, null_path}})).error,
            Error::kMarshallingError);
  EXPECT_EQ(run(OpCode::kMulti, multi_body({null_id, fails})).error, Error::kMarshallingError);
  Outcome outcome = run(OpCode::kMulti, multi_body({fails, null_id}));
  ASSERT_EQ(outcome.ops.size(), 2u);
  EXPECT_EQ(outcome.ops[0].error, Error::kNoNode);
}

TEST_F(Prepare, InAMultiTheFlagsSayWhatIsCreated) {
  auto create_ttl = [this](std::string_view path, int32_t flags) {
    std::string body = create_ttl_body(path, "", open_acl(), flags, 1'000);
    return run(OpCode::kMulti, multi_body({{OpCode::kCreateTtl, body}}));
  };
  EXPECT_EQ(create_ttl("/a", kCreatePersistent).ops.at(0).type, OpCode::kCreate);
  EXPECT_EQ(create_ttl("/b", kCreateContainerFlag).ops.at(0).type, OpCode::kCreateContainer);
  EXPECT_EQ(create_ttl("/c", kCreateTtlFlag).ops.at(0).type, OpCode::kCreateTtl);
  EXPECT_EQ(create_ttl("/d", 7).ops.at(0).error, Error::kBadArguments);
  // Alone, the type does.
  SessionId session = open_session(7);
  Outcome outcome = run(OpCode::kCreateContainer,
                        create_body("/container", "", open_acl(), kCreateEphemeral), session);
  EXPECT_EQ(outcome.error, Error::kOk);
  EXPECT_EQ(stat("/container").ephemeral_owner, 0);
}

TEST_F(Prepare, RequestsSeeWhatIsOutstanding) {
  prepare(OpCode::kCreate, create_body("/a", "", open_acl(), 0));
  prepare(OpCode::kCreate, create_body("/a/b", "", open_acl(), 0));
  prepare(OpCode::kSetData, set_data_body("/a", "1", 0));
  prepare(OpCode::kSetData, set_data_body("/a", "2", 0));  // the version is 1 by then
  EXPECT_EQ(apply_all().error, Error::kBadVersion);
  EXPECT_EQ(data("/a"), "1");
  EXPECT_NE(tree_.find("/a/b"), nullptr);
}

TEST_F(Prepare, ErrorsComeInZooKeepersOrder) {
  create("/a");
  create("/a/b");
  EXPECT_EQ(create("/x/y").error, Error::kNoNode);
  EXPECT_EQ(create("/a").error, Error::kNodeExists);
  EXPECT_EQ(create("nopath").error, Error::kBadArguments);
  EXPECT_EQ(create("/a", "", 9).error, Error::kBadArguments);
  EXPECT_EQ(run(OpCode::kCreate, create_body("/z", "", {}, 0)).error, Error::kInvalidAcl);
  EXPECT_EQ(remove("/a", 5).error, Error::kBadVersion);  // before not empty
  EXPECT_EQ(remove("/a").error, Error::kNotEmpty);
  EXPECT_EQ(remove("/zookeeper").error, Error::kBadArguments);
  EXPECT_EQ(set("/none", "").error, Error::kNoNode);
  EXPECT_EQ(run(OpCode::kCheck, check_body("/a", 0)).error, Error::kUnimplemented);
  EXPECT_EQ(run(OpCode::kCreate, "garbage").error, Error::kMarshallingError);
}

TEST_F(Prepare, AclsAreCheckedForThoseWhoAreNotSuper) {
  Identities nobody{{"ip", "10.0.0.1"}};
  run(OpCode::kCreate, create_body("/p", "", {{kPermRead, {"world", "anyone"}}}, 0));
  auto create_as = [&] {
    return run(OpCode::kCreate, create_body("/p/c", "", open_acl(), 0), {}, nobody).error;
  };
  EXPECT_EQ(create_as(), Error::kNoAuth);
  EXPECT_EQ(run(OpCode::kSetData, set_data_body("/p", "", -1), {}, nobody).error, Error::kNoAuth);
  run(OpCode::kSetAcl, set_acl_body("/p", {{kPermAll, {"ip", "10.0.0.0/8"}}}, -1));
  EXPECT_EQ(create_as(), Error::kOk);
  EXPECT_EQ(run(OpCode::kExtAppend, encode(ExtAppend{"/p", kAnyCzxid, "x"}), {}, nobody).error,
            Error::kNoAuth);
}

TEST_F(Prepare, EphemeralsHaveNoChildrenAndNeedTheirSession) {
  SessionId session = open_session(5);
  create("/e", "", kCreateEphemeral, session);
  EXPECT_EQ(create("/e/c").error, Error::kNoChildrenForEphemerals);
  EXPECT_EQ(create("/f", "", kCreateEphemeral, SessionId{6}).error, Error::kSessionExpired);
  prepare(OpCode::kCreate, create_body("/late", "", open_acl(), kCreateEphemeral), session);
  prepare(OpCode::kCloseSession, "", session);  // takes the one in flight with it
  apply_all();
  EXPECT_EQ(tree_.find("/late"), nullptr);
  EXPECT_EQ(tree_.find("/e"), nullptr);
}

TEST_F(Prepare, ASessionWithMorePathsThanATxnMayNameIsClosedByMoreThanOne) {
  SessionId session = open_session(5);
  std::string deep = "/" + std::string(250, 'd');
  for (int i = 0; i < 7; ++i) {
    create(deep);
    deep += "/" + std::string(250, 'd');
  }
  create(deep);
  for (int i = 0; i < 400; ++i)
    create(deep + "/e" + std::to_string(i), "", kCreateEphemeral, session);
  Zxid before = tree_.last_zxid();
  prepare(OpCode::kCloseSession, "", session);
  apply_all();
  EXPECT_GT(tree_.last_zxid().value, before.value + 100);
  EXPECT_EQ(tree_.find(deep)->children.size(), 0u);
  EXPECT_FALSE(tree_.sessions().contains(session));
}

TEST_F(Prepare, MultiIsAllOrNothing) {
  create("/a");
  std::string body = multi_body({{OpCode::kCreate, create_body("/m", "", open_acl(), 0)},
                                 {OpCode::kSetData, set_data_body("/a", "x", 7)},
                                 {OpCode::kDelete, delete_body("/a", -1)}});
  Outcome outcome = run(OpCode::kMulti, body);
  EXPECT_EQ(outcome.ops.size(), 3u);
  EXPECT_EQ(outcome.ops[0].error, Error::kOk);
  EXPECT_EQ(outcome.ops[1].error, Error::kBadVersion);
  EXPECT_EQ(outcome.ops[2].error, Error::kRuntimeInconsistency);
  EXPECT_EQ(tree_.find("/m"), nullptr);
  EXPECT_NE(tree_.find("/a"), nullptr);
  EXPECT_EQ(create("/after").error, Error::kOk);  // nothing outstanding was left behind
}

TEST_F(Prepare, MultiSeesItsOwnEarlierOps) {
  std::string body = multi_body({{OpCode::kCreate, create_body("/m", "", open_acl(), 0)},
                                 {OpCode::kCreate, create_body("/m/c", "", open_acl(), 0)},
                                 {OpCode::kCheck, check_body("/m", 0)},
                                 {OpCode::kDelete, delete_body("/m/c", -1)}});
  EXPECT_EQ(run(OpCode::kMulti, body).error, Error::kOk);
  EXPECT_EQ(stat("/m").num_children, 0);
  EXPECT_EQ(stat("/m").czxid, zxid_);
}

TEST_F(Prepare, ConditionalWriteKnowsIdentityAndVersion) {
  make_file("/f", "old");
  Zxid first = czxid("/f");
  EXPECT_EQ(write("/f", first, 0, "new"), Error::kOk);
  EXPECT_EQ(write("/f", first, 0, "newer"), Error::kStale);
  EXPECT_EQ(write("/f", first, kAnyVersion, "newest"), Error::kOk);
  remove("/f");
  make_file("/f", "successor");
  EXPECT_EQ(write("/f", first, kAnyVersion, "ghost"), Error::kStale);
  EXPECT_EQ(data("/f"), "successor");
  EXPECT_EQ(write("/f", kAnyCzxid, kAnyVersion, std::string(Limits().data_bytes() + 1, 'x')),
            Error::kTooLarge);
}

TEST_F(Prepare, AppendsAddUp) {
  make_file("/f", "a");
  prepare(OpCode::kExtAppend, encode(ExtAppend{"/f", kAnyCzxid, "b"}));
  prepare(OpCode::kExtAppend, encode(ExtAppend{"/f", kAnyCzxid, "c"}));
  apply_all();
  EXPECT_EQ(data("/f"), "abc");
  EXPECT_EQ(stat("/f").version, 2);
}

TEST_F(Prepare, RenameOverAFileKeepsTheTargetsIdentityAndTakesTheRest) {
  make_file("/target", "old", 0600);
  make_file("/source", "new", 0644);
  Zxid identity = czxid("/target");
  Time time = shown_mtime(Kind::kFile, tree_.find("/source")->stat, {});
  EXPECT_EQ(rename("/source", "/target"), Error::kOk);
  EXPECT_EQ(tree_.find("/source"), nullptr);
  EXPECT_EQ(data("/target"), "new");
  EXPECT_EQ(czxid("/target"), identity);
  std::optional<PosixEntry> posix = find_posix(tree_.acl_of(*tree_.find("/target")));
  EXPECT_EQ(posix->mode, 0644u);
  EXPECT_EQ(posix->mtime, time);
  EXPECT_EQ(posix->mtime_version, stat("/target").version);
}

TEST_F(Prepare, ATimeThatIsSetOnADirectoryHoldsUntilItChanges) {
  create("/d");
  create("/d/old");
  auto shown = [this](const std::string& path) {
    const ZNode& znode = *tree_.find(path);
    std::optional<PosixEntry> posix = find_posix(tree_.acl_of(znode));
    bool holds = posix && posix->mtime &&
                 posix->mtime_version == mtime_version(Kind::kDirectory, znode.stat);
    return holds ? *posix->mtime : shown_mtime(Kind::kDirectory, znode.stat, znode.times);
  };
  PosixChange change;
  change.base.kind = Kind::kDirectory;
  change.mtime = Time{9, 8};
  auto touch = [&] { run(OpCode::kExtSetPosix, encode(ExtSetPosix{"/d", kAnyCzxid, change})); };
  touch();
  EXPECT_EQ(shown("/d"), (Time{9, 8}));
  EXPECT_EQ(rename("/d", "/e"), Error::kOk);  // it moves along
  EXPECT_EQ(shown("/e"), (Time{9, 8}));
  EXPECT_EQ(rename("/e", "/d"), Error::kOk);
  EXPECT_EQ(shown("/d"), (Time{9, 8}));
  create("/d/new");
  EXPECT_EQ(shown("/d").seconds, time_ms_ / 1'000);
  touch();
  remove("/d/old");
  Time time = shown("/d");
  EXPECT_EQ(time.seconds, time_ms_ / 1'000);
  time_ms_ += 100'000;
  EXPECT_EQ(rename("/d", "/e"), Error::kOk);  // so does one that was not set
  EXPECT_EQ(shown("/e"), time);
  touch();
  EXPECT_EQ(shown("/e"), time);  // it was another's
}

TEST_F(Prepare, RenameMovesSubtreesInOneTxn) {
  create("/d");
  create("/d/sub");
  make_file("/d/sub/f", "x");
  EXPECT_EQ(rename("/d", "/e"), Error::kOk);
  EXPECT_EQ(data("/e/sub/f"), "x");
  EXPECT_EQ(tree_.find("/d"), nullptr);
  EXPECT_EQ(rename("/e", "/e/sub/inside"), Error::kBadArguments);
  EXPECT_EQ(rename("/none", "/x"), Error::kNoNode);
}

TEST_F(Prepare, RenameRefusesWhatItCannotDoAsOne) {
  SessionId session = open_session(9);
  create("/d");
  create("/d/e", "", kCreateEphemeral, session);
  EXPECT_EQ(rename("/d", "/x"), Error::kBusy);
  create("/big");
  for (int i = 0; i < 3; ++i) make_file("/big/" + std::to_string(i), std::string(500'000, 'x'));
  EXPECT_EQ(rename("/big", "/x"), Error::kTooLarge);
  make_file("/a", "");
  make_file("/b", "");
  EXPECT_EQ(rename("/a", "/b", kAbsent), Error::kNodeExists);
  EXPECT_EQ(rename("/a", "/big"), Error::kNotEmpty);
  EXPECT_EQ(rename("/a", "/d/e/a"), Error::kNoChildrenForEphemerals);
  create("/hiding");
  make_file("/hiding/@", "");
  EXPECT_EQ(rename("/hiding/@", "/hiding"), Error::kNotEmpty);
}

TEST_F(Prepare, ExchangeSwapsTwo) {
  make_file("/a", "1");
  create("/d");
  make_file("/d/b", "2");
  Outcome outcome =
      run(OpCode::kExtRename, encode(ExtRename{"/a", "/d/b", kAnyCzxid, kAnyCzxid, true}));
  EXPECT_EQ(outcome.error, Error::kOk);
  EXPECT_EQ(data("/a") + data("/d/b"), "21");
}

TEST_F(Prepare, RemoveTakesTheHiddenChildAlong) {
  create("/d");
  create("/d/@");
  create("/d/@/next");
  EXPECT_EQ(run(OpCode::kExtRemove, encode(ExtRemove{"/d", kAnyCzxid, true})).error, Error::kOk);
  EXPECT_EQ(tree_.find("/d"), nullptr);
  create("/e");
  create("/e/child");
  EXPECT_EQ(run(OpCode::kExtRemove, encode(ExtRemove{"/e", kAnyCzxid, true})).error,
            Error::kNotEmpty);
}

TEST_F(Prepare, TimesGoWithTheVersionTheyAreSetFor) {
  make_file("/f", "");
  ExtWrite ext{"/f", kAnyCzxid, kAnyVersion, "data", PosixChange{}};
  ext.posix->mtime = Time{5, 6};
  run(OpCode::kExtWrite, encode(ext));
  std::optional<PosixEntry> posix = find_posix(tree_.acl_of(*tree_.find("/f")));
  EXPECT_EQ(posix->mtime, (Time{5, 6}));
  EXPECT_EQ(posix->mtime_version, 1);
  EXPECT_EQ(posix->mode, 0644u);
}

// An `auth` entry stands for every identity of the client.
class PrepareLarge : public Prepare {
 protected:
  PrepareLarge() {
    for (int i = 0; i < 200; ++i) {
      many_.push_back({"digest", "user" + std::to_string(i) + ":" + std::string(40, 'x')});
    }
    many_auth_ = {{kPermAll, {"auth", ""}}};
  }
  std::string multi_of_creates(int count) const {
    std::vector<MultiOp> ops;
    for (int i = 0; i < count; ++i) {
      ops.push_back({OpCode::kCreate, create_body("/m" + std::to_string(i), "", many_auth_, 0)});
    }
    return multi_body(ops);
  }
  Identities many_;
  AclList many_auth_;
};

TEST_F(PrepareLarge, AMultiThatWouldBecomeTooLargeFailsAsAWhole) {
  int64_t digest = tree_.digest();
  EXPECT_EQ(run(OpCode::kMulti, multi_of_creates(400), {}, many_).error, Error::kBadArguments);
  EXPECT_EQ(tree_.digest(), digest);
  EXPECT_EQ(tree_.find("/m0"), nullptr);
  EXPECT_EQ(run(OpCode::kMulti, multi_of_creates(50), {}, many_).error, Error::kOk);
  EXPECT_EQ(tree_.acl_of(*tree_.find("/m49")).size(), many_.size());
}

TEST_F(PrepareLarge, NoTxnIsLargerThanTheLimit) {
  for (int count = 150; count < 168; ++count) {
    prepare(OpCode::kMulti, multi_of_creates(count), {}, many_);
    ASSERT_EQ(prepared_.size(), 1u);
    EXPECT_LE(prepared_.back().bytes.size(), Limits().txn_bytes());
    apply_all();
    for (int i = 0; i < count; ++i) remove("/m" + std::to_string(i));
  }
}

TEST_F(PrepareLarge, AnAclThatWouldBecomeTooLargeIsRefused) {
  create("/a");
  auto with_kilobytes = [this](int count) {
    for (int i = 0; i < count; i += 4) {  // few enough, for their number is bounded, too
      many_.push_back({"digest", std::to_string(many_.size()) + ":" + std::string(4'096, 'x')});
    }
  };
  with_kilobytes(1'900);
  EXPECT_EQ(run(OpCode::kSetAcl, set_acl_body("/a", many_auth_, -1), {}, many_).error, Error::kOk);
  with_kilobytes(200);
  EXPECT_EQ(run(OpCode::kSetAcl, set_acl_body("/a", many_auth_, -1), {}, many_).error,
            Error::kBadArguments);
}

class PrepareSessions : public Prepare {
 protected:
  Request request(SessionId session, int32_t cxid, Zxid attachment) {
    Request request{session, cxid, OpCode::kSetData, set_data_body("/a", "x", -1), superuser()};
    request.attachment = attachment;
    return request;
  }
};

TEST_F(PrepareSessions, WhatCameByAnAttachmentThatIsOverIsNotAdmitted) {
  SessionId session = open_session(5);
  EXPECT_EQ(preparer_.admit(request(session, 900, kFirstAttachment)), Error::kOk);
  prepare(OpCode::kExtAttach, create_session_body(1000), session);
  Zxid first = zxid_;  // outstanding
  EXPECT_EQ(preparer_.admit(request(session, 900, kFirstAttachment)), Error::kSessionMoved);
  EXPECT_EQ(preparer_.admit(request(session, 1, first)), Error::kOk);  // another server's number
  apply_all();
  EXPECT_EQ(preparer_.admit(request(session, 900, kFirstAttachment)), Error::kSessionMoved);
  EXPECT_EQ(preparer_.admit(request(session, 1, first)), Error::kOk);
  EXPECT_EQ(run(OpCode::kExtAttach, create_session_body(1000), session).error, Error::kOk);
  EXPECT_EQ(preparer_.admit(request(session, 2, first)), Error::kSessionMoved);
  EXPECT_EQ(preparer_.admit(request(session, 2, kNoAttachment)), Error::kOk);
  EXPECT_EQ(run(OpCode::kExtAttach, create_session_body(1000), SessionId{77}).error,
            Error::kSessionExpired);
}

TEST_F(PrepareSessions, RequestsOfAnAttachmentComeInOrderAndOnce) {
  create("/a");
  SessionId session = open_session(5);
  run(OpCode::kSetData, set_data_body("/a", "", -1), session);
  int32_t last = cxid_;
  EXPECT_EQ(preparer_.admit(request(session, last, kFirstAttachment)), Error::kConnectionLoss);
  EXPECT_EQ(preparer_.admit(request(session, last - 1, kFirstAttachment)), Error::kConnectionLoss);
  EXPECT_EQ(preparer_.admit(request(session, last + 1, kFirstAttachment)), Error::kOk);
  cxid_ = INT32_MAX - 1;
  run(OpCode::kSetData, set_data_body("/a", "", -1), session);
  EXPECT_EQ(preparer_.admit(request(session, 1, kFirstAttachment)), Error::kOk);  // it begins again
}

}  // namespace
}  // namespace zabfs::tree
