#include "tree/access.h"

#include <gtest/gtest.h>

#include "unit/tree_fixture.h"

namespace zabfs::tree {
namespace {

constexpr uint32_t kAlice = 1'001, kBob = 1'002, kStaff = 2'000, kOthersGroup = 2'001;
const Identities kAnyone{{"ip", "1.2.3.4"}};

Identities of(uint32_t uid, std::vector<uint32_t> groups) {
  return identities_of(User{uid, std::move(groups)});
}

AclList posix(Kind kind, uint32_t mode, uint32_t uid, uint32_t gid) {
  return with_posix({}, PosixEntry{kind, mode, uid, gid, {}, 0});
}

AclList entry(std::string id) {
  return {{kPermAll, {"world", "anyone"}}, {0, {"digest", std::move(id)}}};
}

class Access : public TreeFixture {
 protected:
  Error make(std::string_view path, const AclList& acl, const Identities& who,
             std::string_view data = "", OpCode type = OpCode::kCreate2) {
    int32_t flags = type == OpCode::kCreateContainer ? kCreateContainerFlag : 0;
    std::string body = create_body(path, data, acl, flags);
    if (type == OpCode::kCreateTtl) body = create_ttl_body(path, data, acl, kCreateTtlFlag, 1'000);
    return run(type, std::move(body), {}, who).error;
  }
  Error set_acl(std::string_view path, const AclList& acl, const Identities& who) {
    return run(OpCode::kSetAcl, set_acl_body(path, acl, -1), {}, who).error;
  }
  const AclList& acl_at(std::string_view path) { return tree_.acl_of(*tree_.find(path)); }

  const Identities alice_ = of(kAlice, {kAlice, kStaff}), bob_ = of(kBob, {kBob});
};

TEST_F(Access, AUserTravelsAsTwoIdentities) {
  std::optional<User> user = user_of(alice_);
  ASSERT_TRUE(user);
  EXPECT_EQ(user->uid, kAlice);
  EXPECT_EQ(user->groups, (std::vector<uint32_t>{kAlice, kStaff}));
  EXPECT_TRUE(user->knows_groups);
  EXPECT_FALSE(user_of({{"uid", "7"}})->knows_groups);
  EXPECT_FALSE(user_of({{"uid", "0"}, {"super", ""}}));
  EXPECT_FALSE(user_of(kAnyone));
  EXPECT_FALSE(user_of({{"uid", "x"}}));
  // They are nobody's to put into an ACL, whatever `auth` stands for.
  EXPECT_EQ(*fix_acl({{kPermAll, {"auth", ""}}}, alice_),
            (AclList{{kPermAll, {"uid", std::to_string(kAlice)}}}));
  EXPECT_EQ(fix_acl({{kPermAll, {"gid", "2000"}}}, alice_).error(), Error::kInvalidAcl);
}

TEST_F(Access, AChangeThatTakesRightsAwayFromSomebodyIsFound) {
  PosixEntry roots{Kind::kFile, 0600, 0, 0, {}, 0}, open{Kind::kFile, 0644, 0, 0, {}, 0};
  auto changed = [](PosixEntry posix, uint32_t mode, uint32_t uid, uint32_t gid) {
    posix.mode = mode;
    posix.uid = uid;
    posix.gid = gid;
    return posix;
  };
  EXPECT_FALSE(takes_rights_away(roots, roots));
  EXPECT_FALSE(takes_rights_away(roots, changed(roots, 04755, kAlice, kStaff)));
  EXPECT_FALSE(takes_rights_away(roots, changed(roots, 0400, 0, 0)));  // root reads and writes all
  EXPECT_FALSE(takes_rights_away(open, changed(open, 0644, kAlice, kStaff)));
  EXPECT_TRUE(takes_rights_away(open, changed(open, 0640, 0, 0)));
  EXPECT_TRUE(takes_rights_away(open, changed(open, 0604, 0, 0)));       // from the group
  EXPECT_TRUE(takes_rights_away(open, changed(open, 0044, kAlice, 0)));  // from Alice
  EXPECT_TRUE(takes_rights_away(open, changed(open, 0604, 0, kStaff)));  // from the new group
  PosixEntry group = changed(roots, 0640, 0, kStaff);
  EXPECT_TRUE(takes_rights_away(group, changed(group, 0640, 0, kOthersGroup)));
  PosixEntry alices = changed(roots, 0600, kAlice, kStaff);
  EXPECT_TRUE(takes_rights_away(alices, changed(alices, 0666, kBob, kStaff)));  // to change it
  EXPECT_TRUE(takes_rights_away(alices, changed(alices, 0400, kAlice, kStaff)));
  EXPECT_TRUE(takes_rights_away(changed(roots, 04755, 0, 0), changed(roots, 0777, 0, 0)));
}

TEST_F(Access, WhoIsNoUserBringsNoPosixEntry) {
  create("/own");
  for (const char* id : {"zabfs-posix,f,644,0,0:x", "zabfs-posix,f,6755,1000,1000:x",
                         "zabfs-posix,l,777,0,0:x", "zabfs-posix,d,755,4294967295,0:x"}) {
    for (OpCode type :
         {OpCode::kCreate, OpCode::kCreate2, OpCode::kCreateContainer, OpCode::kCreateTtl}) {
      EXPECT_EQ(make("/f", entry(id), kAnyone, "", type), Error::kInvalidAcl) << id;
    }
    EXPECT_EQ(set_acl("/own", entry(id), kAnyone), Error::kInvalidAcl) << id;
    EXPECT_EQ(set_acl("/none", entry(id), kAnyone), Error::kInvalidAcl) << id;
    std::string multi = multi_body({{OpCode::kCreate, create_body("/m", "", open_acl(), 0)},
                                    {OpCode::kCreate, create_body("/f", "", entry(id), 0)}});
    Outcome outcome = run(OpCode::kMulti, multi, {}, kAnyone);
    ASSERT_EQ(outcome.ops.size(), 2u);
    EXPECT_EQ(outcome.ops[1].error, Error::kInvalidAcl) << id;
  }
  EXPECT_EQ(tree_.find("/f"), nullptr);
  EXPECT_EQ(tree_.find("/m"), nullptr);
  EXPECT_EQ(acl_at("/own"), open_acl());
}

TEST_F(Access, WhoMaySetAnAclMayKeepItsEntryAndDropItButNotChangeIt) {
  AclList shared = with_posix(open_acl(), PosixEntry{Kind::kFile, 04666, kAlice, kStaff, {}, 0});
  EXPECT_EQ(make("/f", shared, superuser()), Error::kOk);
  AclList less = shared;
  less[0].perms = kPermRead | kPermAdmin;
  EXPECT_EQ(set_acl("/f", less, kAnyone), Error::kOk);
  EXPECT_EQ(set_acl("/f", entry("zabfs-posix,f,6664,1001,2000:x"), kAnyone), Error::kInvalidAcl);
  EXPECT_EQ(set_acl("/f", less, bob_), Error::kNoAuth);  // as chmod(2)
  EXPECT_EQ(set_acl("/f", open_acl(), kAnyone), Error::kOk);
  EXPECT_EQ(set_acl("/f", less, kAnyone), Error::kInvalidAcl);
}

TEST_F(Access, NobodyBringsWhatNoMountCanShow) {
  std::string target(kMaxTargetBytes, 't');
  create("/f");
  for (const char* id : {"zabfs-posix,f,644,4294967295,0:x", "zabfs-posix,f,644,0,4294967295:x",
                         "zabfs-posix,c,644,0,0:x", "zabfs-posix,f,10644,0,0:x",
                         "zabfs-posix,f,644,-1,0:x", "zabfs-posix,:x"}) {
    EXPECT_EQ(make("/bad", entry(id), superuser()), Error::kInvalidAcl) << id;
    EXPECT_EQ(set_acl("/f", entry(id), superuser()), Error::kInvalidAcl) << id;
  }
  AclList link = entry("zabfs-posix,l,755,0,0:x");
  EXPECT_EQ(make("/bad", link, superuser(), target + "t"), Error::kInvalidAcl);
  EXPECT_EQ(make("/link", link, superuser(), target), Error::kOk);
  EXPECT_EQ(set("/link", target + "t").error, Error::kBadArguments);
  EXPECT_EQ(set("/f", target + "t").error, Error::kOk);
  EXPECT_EQ(set_acl("/f", link, superuser()), Error::kInvalidAcl);
  PosixChange change;
  change.uid = kNoId;
  EXPECT_EQ(run(OpCode::kExtSetPosix, encode(ExtSetPosix{"/f", kAnyCzxid, change})).error,
            Error::kBadArguments);
  change.uid.reset();
  change.mode = 010'000;
  EXPECT_EQ(run(OpCode::kExtSetPosix, encode(ExtSetPosix{"/f", kAnyCzxid, change})).error,
            Error::kBadArguments);
}

TEST_F(Access, AUserMakesWhatTheKernelWouldLetItMake) {
  auto made = [this](const AclList& acl, const Identities& who, std::string_view path = "/x") {
    Error error = make(path, acl, who);
    if (error == Error::kOk) remove(path);
    return error == Error::kOk;
  };
  for (Kind kind : {Kind::kFile, Kind::kDirectory, Kind::kSymlink}) {
    EXPECT_TRUE(made(posix(kind, 0644, kAlice, kAlice), alice_));
  }
  EXPECT_TRUE(made(posix(Kind::kFile, 06755, kAlice, kStaff), alice_));
  EXPECT_FALSE(made(posix(Kind::kFile, 0644, kBob, kStaff), alice_));
  EXPECT_FALSE(made(posix(Kind::kFile, 0644, 0, 0), alice_));
  EXPECT_FALSE(made(posix(Kind::kFile, 0644, kAlice, kOthersGroup), alice_));
  // A setgid directory hands its group down, and the bit to directories alone.
  create("/d");
  set_acl("/d", posix(Kind::kDirectory, 02777, 0, kOthersGroup), superuser());
  EXPECT_TRUE(made(posix(Kind::kFile, 0644, kAlice, kOthersGroup), alice_, "/d/x"));
  EXPECT_TRUE(made(posix(Kind::kDirectory, 02755, kAlice, kOthersGroup), alice_, "/d/x"));
  EXPECT_FALSE(made(posix(Kind::kFile, 02755, kAlice, kOthersGroup), alice_, "/d/x"));
  EXPECT_FALSE(made(posix(Kind::kFile, 0644, kAlice, kOthersGroup + 1), alice_, "/d/x"));
}

TEST_F(Access, AUserChangesWhatTheKernelWouldLetItChange) {
  auto changes = [this](const AclList& before, const AclList& after, const Identities& who) {
    if (tree_.find("/x") != nullptr) remove("/x");
    EXPECT_EQ(make("/x", before, superuser()), Error::kOk);
    return set_acl("/x", after, who) == Error::kOk;
  };
  AclList file = posix(Kind::kFile, 0644, kAlice, kAlice);
  EXPECT_TRUE(changes(file, posix(Kind::kFile, 04700, kAlice, kAlice), alice_));
  EXPECT_TRUE(changes(file, posix(Kind::kFile, 02755, kAlice, kStaff), alice_));
  EXPECT_FALSE(changes(file, posix(Kind::kFile, 0644, kAlice, kOthersGroup), alice_));
  EXPECT_FALSE(changes(file, posix(Kind::kFile, 0644, kBob, kAlice), alice_));
  EXPECT_FALSE(changes(file, posix(Kind::kSymlink, 0644, kAlice, kAlice), alice_));
  EXPECT_FALSE(changes(file, posix(Kind::kFile, 0666, kAlice, kAlice), bob_));
  // Without an entry it is nobody's but root's.
  EXPECT_FALSE(changes(open_acl(), posix(Kind::kFile, 0644, kAlice, kAlice), alice_));
}

TEST_F(Access, SetgidOfAGroupThatOneIsNotInCanBeKeptAndNotSet) {
  AclList theirs = posix(Kind::kFile, 0644, kAlice, kOthersGroup);
  AclList setgid = posix(Kind::kFile, 02644, kAlice, kOthersGroup);
  EXPECT_EQ(make("/f", theirs, superuser()), Error::kOk);
  EXPECT_EQ(set_acl("/f", setgid, alice_), Error::kInvalidAcl);
  EXPECT_EQ(set_acl("/f", setgid, superuser()), Error::kOk);
  AclList readable = setgid;
  readable.push_back({kPermRead, {"ip", "1.2.3.4"}});
  EXPECT_EQ(set_acl("/f", readable, alice_), Error::kOk);
}

TEST_F(Access, TheFirstClassThatFitsDecides) {
  AclList acl = posix(Kind::kFile, 0046, kAlice, kStaff);
  EXPECT_FALSE(acl_allows(acl, kPermRead, alice_));
  EXPECT_TRUE(acl_allows(acl, kPermAdmin, alice_));
  EXPECT_TRUE(acl_allows(acl, kPermRead, of(kBob, {kBob, kStaff})));
  EXPECT_FALSE(acl_allows(acl, kPermWrite, of(kBob, {kBob, kStaff})));
  EXPECT_TRUE(acl_allows(acl, kPermWrite, bob_));
  EXPECT_FALSE(acl_allows(acl, kPermAdmin, bob_));
  EXPECT_TRUE(acl_allows(acl, kPermWrite, kAnyone));
  AclList open = with_posix(open_acl(), PosixEntry{Kind::kFile, 0666, kAlice, kStaff, {}, 0});
  EXPECT_TRUE(acl_allows(open, kPermAdmin, kAnyone));
  EXPECT_TRUE(acl_allows(open, kPermAdmin, alice_));
  EXPECT_FALSE(acl_allows(open, kPermAdmin, bob_));
  // What other entries give is given, whoever it is.
  acl.push_back({kPermWrite, {"digest", "u:p"}});
  Identities also = alice_;
  also.push_back({"digest", "u:p"});
  EXPECT_TRUE(acl_allows(acl, kPermWrite, also));
}

TEST_F(Access, GroupsThatAreNotKnownGiveNothing) {
  PosixEntry shown{Kind::kFile, 0604, kAlice, kStaff, {}, 0};
  EXPECT_EQ(mode_bits(shown, User{kBob, {kBob}, true}), 04u);
  EXPECT_EQ(mode_bits(shown, User{kBob, {kBob}, false}), 0u);
  EXPECT_EQ(mode_bits(shown, User{kBob, {kStaff}, false}), 0u);
  EXPECT_EQ(mode_bits(shown, User{kAlice, {}, false}), 06u);
}

TEST_F(Access, DirectoriesAboveHideWhatIsBelowThem) {
  create("/d");
  create("/d/e");
  create("/d/e/f", "x");
  set_acl("/d", posix(Kind::kDirectory, 0710, kAlice, kStaff), superuser());
  set_acl("/d/e", posix(Kind::kDirectory, 0777, 0, 0), superuser());
  Identities staff = of(kBob, {kBob, kStaff});
  for (const Identities& who : {alice_, staff, superuser(), kAnyone}) {
    EXPECT_TRUE(may_reach(tree_, "/d/e/f", who));
  }
  EXPECT_FALSE(may_reach(tree_, "/d/e/f", bob_));
  EXPECT_FALSE(may_reach(tree_, "/d/none", bob_));
  EXPECT_TRUE(may_reach(tree_, "/none/f", bob_));
  EXPECT_TRUE(may_reach(tree_, "/d", bob_));
  EXPECT_TRUE(may_reach(tree_, "/", bob_));

  auto check = [this](const Identities& who) {
    std::string multi = multi_body({{OpCode::kCheck, check_body("/d/e/f", -1)}});
    return run(OpCode::kMulti, multi, {}, who).ops[0].error;
  };
  EXPECT_EQ(check(bob_), Error::kNoAuth);
  EXPECT_EQ(check(staff), Error::kOk);
  EXPECT_EQ(run(OpCode::kSetData, set_data_body("/d/e/f", "y", -1), {}, bob_).error,
            Error::kNoAuth);
  EXPECT_EQ(set_acl("/d/e/f", open_acl(), bob_), Error::kNoAuth);
  EXPECT_EQ(run(OpCode::kDelete, delete_body("/d/e/f", -1), {}, bob_).error, Error::kNoAuth);
  EXPECT_EQ(make("/d/e/g", open_acl(), bob_), Error::kNoAuth);
  EXPECT_EQ(make("/d/e/none/g", open_acl(), bob_), Error::kNoAuth);
  EXPECT_EQ(make("/d/e/g", open_acl(), staff), Error::kOk);
}

TEST_F(Access, WhoMayReadADirectoryByItsAclMayEnterIt) {
  EXPECT_TRUE(may_search({{kPermRead, {"uid", std::to_string(kBob)}}}, bob_));
  EXPECT_FALSE(may_search({{kPermRead, {"uid", std::to_string(kAlice)}}}, bob_));
  EXPECT_TRUE(may_search({{kPermRead, {"world", "anyone"}}}, bob_));
  EXPECT_FALSE(may_search({{kPermCreate, {"world", "anyone"}}}, bob_));
  EXPECT_FALSE(may_search(posix(Kind::kDirectory, 0744, kAlice, kStaff), bob_));
  EXPECT_FALSE(may_search(posix(Kind::kDirectory, 0677, kAlice, kStaff), alice_));
  EXPECT_FALSE(may_search(posix(Kind::kDirectory, 0767, kAlice, kStaff), of(kBob, {kStaff})));
  EXPECT_TRUE(may_search(posix(Kind::kFile, 0744, kAlice, kStaff), bob_));  // as it is shown
}

TEST_F(Access, InAStickyDirectoryNamesAreTheirOwners) {
  create("/t");
  set_acl("/t", posix(Kind::kDirectory, 01777, kStaff, 0), superuser());
  auto removed = [this](const AclList& acl, const Identities& who) {
    if (tree_.find("/t/f") == nullptr) {
      EXPECT_EQ(make("/t/f", acl, superuser()), Error::kOk);
    } else {
      EXPECT_EQ(set_acl("/t/f", acl, superuser()), Error::kOk);
    }
    return run(OpCode::kDelete, delete_body("/t/f", -1), {}, who).error == Error::kOk;
  };
  AclList of_alice = posix(Kind::kFile, 0666, kAlice, kAlice);
  EXPECT_FALSE(removed(of_alice, bob_));
  EXPECT_TRUE(removed(of_alice, alice_));
  EXPECT_TRUE(removed(of_alice, superuser()));
  EXPECT_TRUE(removed(of_alice, of(kStaff, {})));  // the directory's owner
  EXPECT_TRUE(removed(of_alice, kAnyone));         // ZooKeeper's semantics
  EXPECT_FALSE(removed(open_acl(), bob_));
  // An ephemeral is its session's.
  SessionId session = open_session(7);
  for (SessionId who : {SessionId{8}, session}) {
    run(OpCode::kCreate, create_body("/t/e", "", open_acl(), kCreateEphemeral), session, bob_);
    Outcome outcome =
        run(OpCode::kDelete, delete_body("/t/e", -1), who == session ? session : SessionId{}, bob_);
    EXPECT_EQ(outcome.error, who == session ? Error::kOk : Error::kNoAuth);
  }
}

TEST_F(Access, WhatIsTooLongForASymlinkIsAFileOnceAMountChangesIt) {
  Txn txn;  // as another leader made it
  txn.header.type = OpCode::kCreate;
  txn.header.zxid = zxid_ = zxid_.next();
  std::string target(kMaxTargetBytes + 1, 't');
  txn.body = CreateTxn{"/l", target, posix(Kind::kSymlink, 0755, 0, 0), false, -1, 1};
  tree_.apply(txn, nullptr);
  preparer_.reset();
  PosixChange change;
  change.mode = 0600;
  EXPECT_EQ(run(OpCode::kExtSetPosix, encode(ExtSetPosix{"/l", kAnyCzxid, change})).error,
            Error::kOk);
  EXPECT_EQ(find_posix(acl_at("/l"))->kind, Kind::kFile);
}

}  // namespace
}  // namespace zabfs::tree
