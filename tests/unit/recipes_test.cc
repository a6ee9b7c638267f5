// Pure parts of the control room: names of contenders, consistent hashing, the tables of its files.
#include <gtest/gtest.h>

#include <map>

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
