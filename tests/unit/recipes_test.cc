// Pure parts of the control room: names of contenders, consistent hashing, the tables of its files.
#include <gtest/gtest.h>

#include <map>
#include <sstream>

#include "fsd/recipes/holders.h"
#include "fsd/recipes/ring.h"
#include "fsd/view/contenders.h"
#include "fsd/view/control.h"

namespace zabfs::fsd {
namespace {

using tree::Zxid;

class RecipesTest : public testing::Test {
 protected:
  void create(std::string_view path, std::string_view data, int64_t owner = 0,
              const tree::AclList& acl = tree::open_acl()) {
    tree::Txn txn;
    txn.header.type = tree::OpCode::kCreate;
    txn.header.zxid = Zxid{++zxid_};
    txn.header.session = tree::SessionId{owner};
    txn.body = tree::CreateTxn{path, data, acl, owner != 0, -1, 0};
    tree_.apply(txn, nullptr);
  }
  std::vector<std::string> names(const std::vector<Candidate>& candidates) {
    std::vector<std::string> names;
    for (const Candidate& candidate : candidates) names.push_back(candidate.name);
    return names;
  }
  tree::Tree tree_;
  int64_t zxid_ = 0;
};

TEST_F(RecipesTest, ContendersAreEphemeralsOfCuratorsNames) {
  EXPECT_TRUE(is_mutex_contender("_c_8f0a-lock-0000000003"));
  EXPECT_TRUE(is_mutex_contender("8f0a__lock__0000000003"));
  EXPECT_FALSE(is_mutex_contender("lock"));
  EXPECT_TRUE(is_read_write_contender("_c_1-__READ__0000000001"));
  EXPECT_FALSE(is_reader("_c_1-__WRIT__0000000001"));
  EXPECT_EQ(sequence_of("x-0000000042"), 42);
  EXPECT_EQ(sequence_of("x-000000004"), std::nullopt);
  EXPECT_TRUE(is_uuid(uuid_of(0, 0)));
  EXPECT_TRUE(is_uuid(uuid_of(UINT64_MAX, UINT64_MAX)));
  uint64_t random = 0;
  EXPECT_EQ(uuid_from([&random] { return ++random; }), uuid_of(1, 2));
  EXPECT_FALSE(is_uuid("8f0a"));
  create("/d", "");
  create("/d/_c_1-lock-0000000000", "");
  EXPECT_FALSE(
      is_contender(*tree_.find("/d/_c_1-lock-0000000000")));  // left by somebody, no holder
  create("/d/_c_1-lock-0000000001", "", 7);
  EXPECT_TRUE(is_contender(*tree_.find("/d/_c_1-lock-0000000001")));
}

TEST_F(RecipesTest, ServiceInstancesAreNoBarrierMembers) {
  std::string uuid = uuid_of(1, 2);
  create("/d", "");
  create("/d/" + uuid, "{\"name\": \"web\"}", 7);
  EXPECT_FALSE(is_contender(*tree_.find("/d/" + uuid)));
  EXPECT_EQ(candidates_of(tree_, "/d", {}).size(), 1u);
  std::string other = uuid_of(3, 4);
  create("/d/" + other, "1 2 sh", 7);
  EXPECT_TRUE(is_contender(*tree_.find("/d/" + other)));
  EXPECT_EQ(candidates_of(tree_, "/d", {}).size(), 1u);
}

TEST_F(RecipesTest, WeightsAreDataThatIsANumber) {
  create("/d", "");
  create("/d/@", "");
  create("/d/a", "2.5\n");
  create("/d/b", "ten");
  create("/d/c", "0");
  create("/d/d", "-3");
  create("/d/qn-0000000001", "job");
  std::vector<Candidate> found = candidates_of(tree_, "/d", {});
  EXPECT_EQ(names(found), (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(found[0].weight, 2.5);
  EXPECT_EQ(found[1].weight, 1);
}

TEST_F(RecipesTest, AWeightIsOneThatAllWhoListTheDirectoryMayRead) {
  auto file = [](uint32_t mode, uint32_t uid, uint32_t gid) {
    return acl_for_new(tree::Kind::kFile, mode, uid, gid);
  };
  create("/d", "", 0, acl_for_new(tree::Kind::kDirectory, 0755, 7, 8));
  create("/d/all", "2", 0, file(0644, 1, 1));
  create("/d/owner", "2", 0, file(0600, 7, 8));
  create("/d/zero", "0", 0, file(0640, 7, 8));
  create("/g", "", 0, acl_for_new(tree::Kind::kDirectory, 0770, 0, 8));
  create("/g/group", "2", 0, file(0640, 7, 8));
  create("/g/other", "2", 0, file(0640, 7, 9));
  std::map<std::string, double> weights;
  for (const char* directory : {"/d", "/g"}) {
    for (const Candidate& found : candidates_of(tree_, directory, {})) {
      weights[found.name] = found.weight;
    }
  }
  EXPECT_EQ(weights, (std::map<std::string, double>{
                         {"all", 2}, {"owner", 1}, {"zero", 1}, {"group", 2}, {"other", 1}}));
}

TEST_F(RecipesTest, AKeyMovesOnlyToANewChildOrFromOneThatWent) {
  std::vector<Candidate> ten;
  for (int i = 0; i < 10; ++i) ten.push_back({"server" + std::to_string(i), 1});
  std::vector<Candidate> nine(ten.begin(), ten.end() - 1), heavy = ten;
  heavy[0].weight = 5;
  std::map<std::string, int> shares;
  int moved = 0, weighed = 0;
  for (int i = 0; i < 10'000; ++i) {
    std::string key = "key" + std::to_string(i);
    std::string with = ring_choice(key, ten), without = ring_choice(key, nine);
    ++shares[with];
    if (with != without) {
      EXPECT_EQ(with, "server9");
      ++moved;
    }
    std::string choice = ring_choice(key, heavy);
    if (choice == "server0") ++weighed;
    EXPECT_TRUE(choice == with || choice == "server0") << key;
  }
  for (const auto& [name, share] : shares) {
    EXPECT_GT(share, 900) << name;
    EXPECT_LT(share, 1'100) << name;
  }
  EXPECT_EQ(moved, shares["server9"]);
  EXPECT_NEAR(weighed, 10'000 * 5 / 14, 250);
  EXPECT_EQ(ring_choice("key", {}), "");
}

class HoldersTest : public RecipesTest {
 protected:
  HoldersTest() {
    for (int64_t session : {7, 8}) {
      tree::Txn txn;
      txn.header.type = tree::OpCode::kCreateSession;
      txn.header.zxid = Zxid{++zxid_};
      txn.header.session = tree::SessionId{session};
      txn.body = tree::CreateSessionTxn{6'000};
      tree_.apply(txn, nullptr);
    }
    for (const char* path : {"/d", "/d/e", "/d/@", "/d/@/lock:a file", "/d/locks", "/d/leases"}) {
      create(path, "");
    }
  }
  // Without what is when it ran.
  std::string told(const std::string& directory, const NodeTest& may_list = nullptr,
                   const NodeTest& may_read = nullptr) {
    std::istringstream lines(holders_text(tree_, directory, may_list, may_read));
    std::string line, text;
    while (std::getline(lines, line)) {
      std::istringstream fields(line);
      std::string kind, state, node, pid, name, since, token, path;
      fields >> kind >> state >> node >> pid >> name >> since >> token;
      std::getline(fields >> std::ws, path);
      EXPECT_EQ(since, "1970-01-01T00:00:00Z");
      EXPECT_TRUE(token.starts_with("0x"));
      text += kind + " " + state + " " + node + " " + pid + " " + name + " " + path + "\n";
    }
    return text;
  }
};

TEST_F(HoldersTest, EveryRecipeIsToldOfInTheOrderOfItsQueue) {
  create("/d/_c_2-lock-0000000009", "2 21 sh", 8);
  create("/d/_c_1-lock-0000000004", "1 11 sh", 7);
  create("/d/e/_c_1-latch-0000000001", "1 12 vi", 7);
  create("/d/e/_c_1-__READ__0000000001", "1 13 r", 7);
  create("/d/e/_c_2-__READ__0000000002", "2 23 r", 8);
  create("/d/e/_c_1-__WRIT__0000000003", "1 14 w", 7);
  create("/d/e/_c_2-__READ__0000000004", "2 24 r", 8);
  create("/d/@/lock:a file/w-0000000001", "2 25 cp", 8);
  create("/d/@/lock:a file/r-0000000002", "1 15 cat", 7);
  EXPECT_EQ(told("/d"),
            "lock held 1 11 sh @/lock\n"
            "lock waiting 2 21 sh @/lock\n"
            "flock held 2 25 cp a file\n"
            "flock-shared waiting 1 15 cat a file\n"
            "leader held 1 12 vi e/@/leader\n"
            "rwlock-shared held 1 13 r e/@/rwlock\n"
            "rwlock-shared held 2 23 r e/@/rwlock\n"
            "rwlock waiting 1 14 w e/@/rwlock\n"
            "rwlock-shared waiting 2 24 r e/@/rwlock\n");
  EXPECT_TRUE(told("/").starts_with("lock held 1 11 sh d/@/lock\n"));
  EXPECT_TRUE(told("/d/e").starts_with("leader held 1 12 vi @/leader\n"));
}

TEST_F(HoldersTest, ALeaseIsHeldOnceItsMakerHasLeftTheMutex) {
  create("/d/leases/_c_1-lease-0000000001", "1 11 a", 7);
  create("/d/locks/_c_2-lock-0000000001", "2 21 b", 8);
  create("/d/locks/_c_1-lock-0000000002", "1 12 c", 7);
  create("/d/leases/_c_2-lease-0000000002", "2 21 b", 8);
  EXPECT_EQ(told("/d"),
            "semaphore held 1 11 a @/semaphore\n"
            "semaphore waiting 2 21 b @/semaphore\n"
            "semaphore waiting 1 12 c @/semaphore\n");
}

TEST_F(HoldersTest, ABarrierIsHeldOnceItIsReady) {
  create("/d/e/" + uuid_of(1, 2), "1 11 a", 7);
  EXPECT_EQ(told("/d"), "barrier waiting 1 11 a e/@/barrier\n");
  create("/d/e/ready", "");
  EXPECT_EQ(told("/d"), "barrier held 1 11 a e/@/barrier\n");
}

TEST_F(HoldersTest, OthersDataIsOneWordAMember) {
  create("/d/_c_1-lock-0000000001", "10.0.0.7", 7);
  create("/d/_c_1-lock-0000000002", "1 2 x\nlock held 9 9 forged y", 7);
  create("/d/_c_1-lock-0000000003", std::string(1'000, 'x'), 7);
  EXPECT_EQ(told("/d"),
            "lock held 10.0.0.7 - _c_1-lock-0000000001 @/lock\n"
            "lock waiting 1 2 x_lock_held_9_9_forged_y @/lock\n"
            "lock waiting " +
                std::string(64, 'x') + " - _c_1-lock-0000000003 @/lock\n");
}

TEST_F(HoldersTest, OnlyWhatTheReaderCouldListIsTold) {
  create("/d/_c_1-lock-0000000001", "1 11 a", 7);
  create("/d/e/f", "");
  create("/d/e/f/_c_1-lock-0000000001", "1 12 b", 7);
  auto but = [](std::string closed) {
    return [closed](const tree::ZNode&, const std::string& path) { return path != closed; };
  };
  EXPECT_EQ(told("/d", but("/d/e")), "lock held 1 11 a @/lock\n");
  EXPECT_EQ(told("/d", but("/d")), "");
  EXPECT_EQ(told("/d/e/f", but("/d/e")), "lock held 1 12 b @/lock\n");
  EXPECT_EQ(told("/d/e", nullptr, but("/d/e/f/_c_1-lock-0000000001")),
            "lock held - - _c_1-lock-0000000001 f/@/lock\n");
}

TEST(Control, EveryFileHasItsModes) {
  for (const std::string& name : room_names(true)) {
    Control control = control_named(name, true);
    EXPECT_NE(control, Control::kNone) << name;
    EXPECT_EQ(control_name(control), name);
    EXPECT_EQ(control_mode(control, 0) & 0577u, 0u) << name;  // but for acl, its owner's
    EXPECT_EQ(control_mode(control, 0755) & 0022u, 0u) << name;
  }
  EXPECT_EQ(control_named("cluster", false), Control::kNone);
  EXPECT_EQ(control_mode(Control::kQueue, 0755), 0600u);  // reading takes, so it needs w
  EXPECT_EQ(control_mode(Control::kCounter, 0755), 0644u);
  EXPECT_EQ(member_named(Control::kSemaphores, "3"), Control::kSemaphore);
  for (const char* name : {"0", "-1", "x", "1 ", "", "9999999999"}) {
    EXPECT_EQ(member_named(Control::kSemaphores, name), Control::kNone) << name;
  }
}

}  // namespace
}  // namespace zabfs::fsd
