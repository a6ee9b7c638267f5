// A subtree as records, and what records become in a tree: the pure halves of @/export and
// @/import.
#include "fsd/recipes/import_plan.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "fsd/transfer/subtree.h"
#include "unit/tree_fixture.h"

namespace zabfs::fsd {
namespace {

using transfer::Entry;
using transfer::LeftOut;
using transfer::Reason;
using tree::Kind;
using tree::OpCode;
using Change = ImportPlan::Change;

constexpr uint32_t kAlice = 1'001, kGroup = 2'000;

Caller root() { return {}; }
Caller alice() {
  Caller caller;
  caller.uid = kAlice;
  caller.gid = kGroup;
  caller.groups = {kGroup};
  return caller;
}

class ImportPlanTest : public tree::TreeFixture {
 protected:
  ImportPlanTest() { make("/d", Kind::kDirectory, 0777); }

  void make(const std::string& path, Kind kind, uint32_t mode, uint32_t uid = 0, uint32_t gid = 0,
            const std::string& data = "", const tree::AclList& more = {}) {
    tree::AclList acl = acl_for_new(kind, mode, uid, gid);
    acl.insert(acl.begin(), more.begin(), more.end());
    run(OpCode::kCreate, tree::create_body(path, data, acl, 0));
  }
  static ImportPlan plan_of(bool removes_others = false) {
    return ImportPlan({"/d", 1'000, true, removes_others});
  }
  static Entry entry(const std::string& path, Kind kind, uint32_t mode,
                     const std::string& data = "", uint32_t uid = kAlice, uint32_t gid = kGroup) {
    Entry entry;
    entry.path = path;
    entry.kind = kind;
    entry.mode = mode;
    entry.uid = uid;
    entry.gid = gid;
    entry.mtime = {1'700'000'000, 123'456'789};
    entry.data = data;
    return entry;
  }
  Placing placing(const Caller& caller) { return Placing(tree_, options_, caller); }
  void apply(const ImportPlan::Step& step) {
    if (step.first) {
      EXPECT_EQ(run(step.first->type, step.first->body).error, tree::Error::kOk);
    }
    if (step.ops.empty()) return;
    tree::Outcome outcome = run(OpCode::kMulti, tree::multi_body(step.ops));
    EXPECT_EQ(outcome.error, tree::Error::kOk);
    for (const tree::OpOutcome& op : outcome.ops) EXPECT_EQ(op.error, tree::Error::kOk);
  }
  // All of it, each entry in a commit of its own; what became of each.
  std::map<std::string, Change> import(const std::vector<Entry>& entries, const Caller& caller,
                                       ImportPlan* used = nullptr) {
    ImportPlan own = plan_of();
    ImportPlan& plan = used == nullptr ? own : *used;
    std::map<std::string, Change> changes;
    for (const Entry& one : entries) {
      ImportPlan::Step step = plan.put(one, placing(caller));
      EXPECT_EQ(step.error, FileError::kOk) << one.path;
      apply(step);
      plan.committed(one);
      changes[one.path] = step.change;
    }
    for (const std::string& path : plan.directories()) apply(plan.settle(path, placing(caller)));
    return changes;
  }
  FileError refusal(const Entry& one, const Caller& caller) {
    ImportPlan plan = plan_of();
    return plan.put(one, placing(caller)).error;
  }
  View view(const std::string& path) { return view_of(tree_, *tree_.find(path), path, options_); }
  std::vector<transfer::Record> records(const Caller& reader, const std::string& directory = "/d",
                                        size_t piece = 7) {
    Subtree subtree(tree_, options_, reader, directory);
    transfer::Decoder decoder(1'000);
    std::vector<transfer::Record> found;
    uint64_t offset = 0;
    while (true) {
      std::string bytes = subtree.read(offset, piece);
      if (bytes.empty()) break;
      offset += bytes.size();
      decoder.feed(bytes);
      while (auto record = decoder.next()) found.push_back(std::move(*record));
    }
    EXPECT_TRUE(decoder.status().ok()) << decoder.status().why();
    EXPECT_TRUE(decoder.has_ended());
    return found;
  }
  static std::vector<Entry> entries_of(const std::vector<transfer::Record>& records) {
    std::vector<Entry> entries;
    for (const transfer::Record& record : records) {
      if (const Entry* one = std::get_if<Entry>(&record)) entries.push_back(*one);
    }
    return entries;
  }
  static std::set<std::pair<std::string, Reason>> left_out(
      const std::vector<transfer::Record>& records) {
    std::set<std::pair<std::string, Reason>> found;
    for (const transfer::Record& record : records) {
      if (const LeftOut* one = std::get_if<LeftOut>(&record)) found.emplace(one->path, one->why);
    }
    return found;
  }

  ViewOptions options_;
};

TEST_F(ImportPlanTest, ASecondImportOfTheSameChangesNothing) {
  std::vector<Entry> all = {
      entry("sub", Kind::kDirectory, 0555, "own"), entry("sub/f", Kind::kFile, 0640, "text"),
      entry("sub/link", Kind::kSymlink, 0777, "f"), entry("sub/pipe", Kind::kFifo, 0600),
      entry("empty", Kind::kFile, 04755)};
  for (const Caller& caller : {root(), alice()}) {
    for (const auto& [path, change] : import(all, caller)) {
      EXPECT_EQ(change, caller.uid == 0 ? Change::kMade : Change::kNone) << path;
    }
    tree::Zxid before = tree_.last_zxid();
    for (const auto& [path, change] : import(all, caller)) EXPECT_EQ(change, Change::kNone) << path;
    EXPECT_EQ(tree_.last_zxid(), before);
  }
  View sub = view("/d/sub"), f = view("/d/sub/f");
  EXPECT_EQ(sub.mode, 0555u);
  EXPECT_EQ(sub.mtime, all[0].mtime);
  EXPECT_EQ(f.mtime, all[1].mtime);
  EXPECT_EQ(f.uid, kAlice);
  EXPECT_EQ(tree_.find("/d/sub")->data.view(), "own");
  EXPECT_EQ(view("/d/empty").mode, 04755u);
}

TEST_F(ImportPlanTest, AnExportComesBackTheSame) {
  make("/s", Kind::kDirectory, 0755);
  make("/s/sub", Kind::kDirectory, 02770, kAlice, kGroup, "own", {{1, {"digest", "app:c2VjcmV0"}}});
  make("/s/sub/f", Kind::kFile, 04755, kAlice, kGroup, std::string(300, 'x'));
  make("/s/sub/link", Kind::kSymlink, 0777, 0, 0, "f");
  run(OpCode::kCreate, tree::create_body("/s/plain", "data", tree::open_acl(), 0));
  run(OpCode::kCreateTtl, tree::create_ttl_body("/s/ttl", "x", tree::open_acl(), 5, 4'000));
  run(OpCode::kCreateContainer, tree::create_body("/s/container", "", tree::open_acl(), 4));
  make("/s/@", Kind::kDirectory, 0755);
  make("/s/@/next", Kind::kFile, 0644);
  tree::SessionId session{7};
  run(OpCode::kCreateSession, tree::create_session_body(5'000), session);
  create("/s/ephemeral", "", 1, session);
  std::vector<Entry> all = entries_of(records(root(), "/s"));
  ASSERT_EQ(all.size(), 7u);
  import(all, root());
  std::vector<Entry> again = entries_of(records(root(), "/d"));
  ASSERT_EQ(again.size(), all.size());
  for (size_t i = 1; i < all.size(); ++i) {
    if (all[i].is_plain) again[i].mtime = all[i].mtime;  // there is no entry to keep it in
    EXPECT_TRUE(all[i] == again[i]) << all[i].path;
  }
  EXPECT_EQ(tree::owner_ttl_ms(tree_.find("/d/ttl")->stat.owner), 4'000);
  EXPECT_EQ(tree_.find("/d/container")->stat.owner, tree::kContainerOwner);
  EXPECT_EQ(tree_.acl_of(*tree_.find("/d/plain")), tree::open_acl());
}

TEST_F(ImportPlanTest, AnExportCanBeReadFromAnyOffset) {
  make("/d/a", Kind::kFile, 0644, 0, 0, "some data");
  make("/d/b", Kind::kFile, 0644, 0, 0, "");
  Subtree subtree(tree_, options_, root(), "/d");
  std::string whole = subtree.read(0, 1'000'000);
  for (size_t at = 0; at <= whole.size(); ++at) {
    for (size_t size : {1u, 5u, 1'000u}) {
      ASSERT_EQ(subtree.read(at, size), whole.substr(at, size)) << at;
    }
  }
  auto header = std::get<transfer::Header>(records(root())[0]);
  EXPECT_EQ(header.zxid, tree_.last_zxid());
}

TEST_F(ImportPlanTest, AnExportHasWhatItsReaderMayRead) {
  make("/d/mine", Kind::kFile, 0600, kAlice, 0, "x");
  make("/d/secret", Kind::kFile, 0600, 0, 0, "x");
  make("/d/closed", Kind::kDirectory, 0700, 0, 0, "own");
  make("/d/digests", Kind::kFile, 0644, 0, 0, "", {{31, {"digest", "a:c2VjcmV0"}}});
  make("/d/socket", Kind::kSocket, 0666);
  std::vector<transfer::Record> found = records(alice());
  std::set<std::pair<std::string, Reason>> expected = {{"secret", Reason::kNoAccess},
                                                       {"closed", Reason::kNoAccess},
                                                       {"digests", Reason::kSecrets},
                                                       {"socket", Reason::kNoFile}};
  EXPECT_EQ(left_out(found), expected);
  std::set<std::string> paths;
  for (const Entry& one : entries_of(found)) {
    paths.insert(one.path);
    bool is_without = one.path == "closed" || one.path == "digests";
    EXPECT_TRUE(!is_without || (one.data.empty() && one.acl.empty()));
  }
  EXPECT_EQ(paths, (std::set<std::string>{"", "mine", "closed", "digests"}));
  EXPECT_EQ(left_out(records(root())).size(), 1u);
}

TEST_F(ImportPlanTest, AUserMakesWhatHeCouldMakeByHand) {
  make("/d/closed", Kind::kDirectory, 0755);
  make("/d/dir", Kind::kDirectory, 0777);
  make("/d/theirs", Kind::kFile, 0644, 0, 0, "x");
  make("/d/open", Kind::kFile, 06666 | 0010, 0, 0, "x");
  ImportPlan plan = plan_of();
  EXPECT_EQ(plan.put(entry("closed", Kind::kDirectory, 0700), placing(alice())).error,
            FileError::kOk);
  EXPECT_EQ(plan.put(entry("closed/f", Kind::kFile, 0644), placing(alice())).error,
            FileError::kNoAccess);
  EXPECT_EQ(refusal(entry("theirs", Kind::kFile, 0644, "y"), alice()), FileError::kNoAccess);
  EXPECT_EQ(refusal(entry("theirs", Kind::kFile, 0644, "x"), alice()), FileError::kOk);  // the same
  EXPECT_EQ(refusal(entry("theirs", Kind::kDirectory, 0755), root()), FileError::kNotDirectory);
  EXPECT_EQ(refusal(entry("dir", Kind::kFile, 0644), root()), FileError::kIsDirectory);
  EXPECT_EQ(refusal(entry("theirs", Kind::kSymlink, 0777, "x"), root()), FileError::kExists);
  import({entry("open", Kind::kFile, 0600, "y")}, alice());
  EXPECT_EQ(view("/d/open").mode, 0676u);  // not hers: without setuid and setgid, and no more
  // What is somebody else's becomes hers.
  import({entry("f", Kind::kFile, 06755, "y", 0, 0)}, alice());
  EXPECT_EQ(view("/d/f").mode, 0755u);
  EXPECT_EQ(view("/d/f").uid, kAlice);
  EXPECT_EQ(view("/d/f").gid, kGroup);
}

TEST_F(ImportPlanTest, NobodyLearnsWhatIsInAFileThatHeMayNotRead) {
  make("/d/hidden", Kind::kFile, 0622, 0, 0, "right");
  for (const char* guess : {"right", "wrong"}) {
    ImportPlan plan = plan_of();
    ImportPlan::Step step = plan.put(entry("hidden", Kind::kFile, 0622, guess), placing(alice()));
    EXPECT_EQ(step.change, Change::kChanged) << guess;
  }
}

TEST_F(ImportPlanTest, StickyDirectoriesKeepTheSymlinksOfOthers) {
  make("/d/sticky", Kind::kDirectory, 01777);
  make("/d/sticky/link", Kind::kSymlink, 0777, 0, 0, "a");
  ImportPlan plan = plan_of();
  apply(plan.put(entry("sticky", Kind::kDirectory, 01777), placing(alice())));
  EXPECT_EQ(plan.put(entry("sticky/link", Kind::kSymlink, 0777, "b"), placing(alice())).error,
            FileError::kNotPermitted);
}

TEST_F(ImportPlanTest, ADirectoryThatIsOnItsWayCanBeFilled) {
  ImportPlan plan = plan_of();
  Entry directory = entry("new", Kind::kDirectory, 0555), inner = entry("new/f", Kind::kFile, 0644);
  ImportPlan::Step first = plan.put(directory, placing(alice()));
  ImportPlan::Step second = plan.put(inner, placing(alice()));  // the first is not in the tree yet
  EXPECT_EQ(second.error, FileError::kOk);
  apply(first);
  EXPECT_EQ(view("/d/new").mode, 0755u);  // its owner is filling it
  plan.committed(directory);
  apply(second);
  plan.committed(inner);
  for (const std::string& path : plan.directories()) apply(plan.settle(path, placing(alice())));
  EXPECT_EQ(view("/d/new").mode, 0555u);
  EXPECT_EQ(view("/d/new").mtime, directory.mtime);
}

TEST_F(ImportPlanTest, ADirectoryWhoseCommitFailedIsMadeAgain) {
  ImportPlan plan = plan_of();
  Entry directory = entry("new", Kind::kDirectory, 0755);
  static_cast<void>(plan.put(directory, placing(root())));
  plan.failed(directory);
  EXPECT_EQ(plan.put(directory, placing(root())).change, Change::kMade);
}

TEST_F(ImportPlanTest, AnEntryNeedsItsDirectoryBeforeIt) {
  EXPECT_EQ(refusal(entry("x/f", Kind::kFile, 0644), root()), FileError::kNotDirectory);
  EXPECT_EQ(refusal(entry("f", Kind::kFile, 0644, std::string(1'001, 'x')), root()),
            FileError::kTooLarge);
}

TEST_F(ImportPlanTest, ZooKeepersOwnStaysAsItIs) {
  ImportPlan plan({"/", 1'000, true, true});
  ImportPlan::Step step = plan.put(entry("zookeeper", Kind::kDirectory, 0755), placing(root()));
  EXPECT_EQ(step.change, Change::kSkipped);
  step = plan.put(entry("zookeeper/config", Kind::kFile, 0644, "evil"), placing(root()));
  EXPECT_EQ(step.change, Change::kSkipped);
  EXPECT_TRUE(step.is_empty());
  ImportPlan empty({"/", 1'000, true, true});
  EXPECT_EQ(empty.others(tree_), std::vector<std::string>{"d"});
}

TEST_F(ImportPlanTest, WhatTheStreamDoesNotHaveIsRemoved) {
  make("/d/keep", Kind::kDirectory, 0755);
  make("/d/keep/new", Kind::kFile, 0644);
  make("/d/gone", Kind::kDirectory, 0755);
  make("/d/gone/a", Kind::kFile, 0644);
  make("/d/gone/@", Kind::kDirectory, 0755);
  make("/d/secret", Kind::kFile, 0600);
  make("/d/@", Kind::kDirectory, 0755);
  ImportPlan plan = plan_of(true);
  import({entry("keep", Kind::kDirectory, 0755)}, root(), &plan);
  plan.keep("secret");
  std::vector<std::string> others = plan.others(tree_);
  EXPECT_EQ(others, (std::vector<std::string>{"gone", "keep/new"}));
  EXPECT_EQ(plan.remove("gone", placing(alice())).error, FileError::kNoAccess);
  for (const std::string& path : others) apply(plan.remove(path, placing(root())));
  EXPECT_EQ(tree_.find("/d/gone"), nullptr);
  EXPECT_EQ(tree_.find("/d/keep/new"), nullptr);
  EXPECT_NE(tree_.find("/d/keep"), nullptr);
  EXPECT_NE(tree_.find("/d/secret"), nullptr);
  EXPECT_NE(tree_.find("/d/@"), nullptr);
}

}  // namespace
}  // namespace zabfs::fsd
