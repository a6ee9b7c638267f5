// The reader of the past against a model that recorded every tree as it came.
#include "fsd/history/past_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "consensus/kept_history.h"
#include "consensus/log.h"
#include "consensus/snapshot_store.h"
#include "sim/sim_disk.h"
#include "tree/path.h"
#include "unit/put_snapshot.h"
#include "unit/tree_fixture.h"

namespace zabfs::fsd {
namespace {

using consensus::Log;
using tree::OpCode;
using tree::Zxid;

constexpr size_t kSegmentBytes = 4'096;

class PastReaderTest : public tree::TreeFixture {
 protected:
  // All paths with data, mode and version.
  using Picture = std::map<std::string, std::string>;

  PastReaderTest() {
    open({64u << 20, INT64_MAX});
    commit(OpCode::kCreateSession, tree::create_session_body(1'000));
  }

  void open(consensus::KeptHistory::Options options) {
    history_ = std::make_unique<consensus::KeptHistory>(options, log_disk_, snapshot_disk_);
    log_ = std::make_unique<Log>(history_->log_disk(), Log::Options{kSegmentBytes});
    ASSERT_EQ(log_->open().error, "");
    ASSERT_TRUE(log_->begin().ok());
    reader_ = std::make_unique<PastReader>(log_disk_, snapshot_disk_, ViewOptions{});
  }
  // Prepares, logs and applies one request. Its zxid.
  Zxid commit(OpCode type, std::string body,
              const tree::Identities& identities = tree::superuser()) {
    prepare(type, std::move(body), tree::SessionId{0x7000000000001}, identities);
    std::vector<tree::PreparedTxn> batch = prepared_;
    for (const tree::PreparedTxn& txn : batch) {
      log_batch({consensus::log_format::RecordType::kTxn, txn.zxid, 0,
                 consensus::make_payload(std::string(txn.bytes))});
    }
    apply_all();
    pictures_[tree_.last_zxid()] = picture(tree_);
    return tree_.last_zxid();
  }
  void log_batch(consensus::LogEntry entry) {
    ASSERT_TRUE(log_->write({std::move(entry)}, committed_).ok());
    committed_ = log_->history().last();
  }
  void snapshot() {
    consensus::SnapshotStore store(history_->snapshot_disk());
    ASSERT_TRUE(put_snapshot(store, tree_.last_zxid(), tree_, 1u << 10).ok());
    std::vector<Zxid> stored = store.list();
    if (stored.size() < 3) return;
    for (Zxid zxid : stored) {
      if (zxid < stored[1]) store.retire(zxid);
    }
    log_->purge(stored[1]);
    history_->trim(time_ms_);
  }
  static Picture picture(const tree::Tree& tree) {
    Picture all;
    add(tree, tree.root(), "/", all);
    return all;
  }
  static void add(const tree::Tree& tree, const tree::ZNode& node, const std::string& path,
                  Picture& all) {
    View view = view_of(tree, node, path, {});
    all[path] = std::string(node.data.view()) + " " + std::to_string(view.mode) + " " +
                std::to_string(node.stat.version);
    tree.for_each_child(node, [&](const tree::ZNode& child) {
      add(tree, child, tree::join_path(path, child.name.view()), all);
    });
  }
  Zxid commit_file(const std::string& path, const std::string& data, uint32_t mode = 0644) {
    tree::AclList acl = acl_for_new(tree::Kind::kFile, mode, 1, 1);
    return commit(OpCode::kCreate2, tree::create_body(path, data, acl, 0));
  }
  DirectoryPast children(const std::string& directory) {
    DirectoryPast past;
    PastReader::TreePtr tree;
    EXPECT_TRUE(reader_->read_children(directory, committed_, past, tree).ok());
    return past;
  }
  static std::string text(const std::vector<FileVersion>& versions) {
    std::string all;
    for (const FileVersion& version : versions) {
      all += std::string(name_of(version.what)) + ":" + std::string(version.data.view()) + " ";
    }
    return all;
  }

  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
  std::unique_ptr<consensus::KeptHistory> history_;
  std::unique_ptr<Log> log_;
  std::unique_ptr<PastReader> reader_;
  Zxid committed_;
  std::map<Zxid, Picture> pictures_;
};

TEST_F(PastReaderTest, VersionsOfAFile) {
  commit_file("/f", "one");
  Zxid second = commit(OpCode::kSetData, tree::set_data_body("/f", "two", -1));
  commit(OpCode::kSetAcl, tree::set_acl_body("/f", acl_for_new(tree::Kind::kFile, 0600, 1, 1), -1));
  commit(OpCode::kDelete, tree::delete_body("/f", -1));
  commit_file("/f", "three");
  commit_file("/other", "x");
  DirectoryPast past = children("/");
  const std::vector<FileVersion>& versions = past.children.at("f");
  EXPECT_EQ(text(versions), "created:one changed:two acl:two removed: created:three ");
  EXPECT_EQ(versions[1].zxid, second);
  EXPECT_EQ(versions[1].view.mode, 0644u);
  EXPECT_EQ(versions[2].view.mode, 0600u);
  EXPECT_EQ(versions[1].who.session.value, 0x7000000000001);
  EXPECT_EQ(versions[1].who.node, 7);
  EXPECT_EQ(versions[1].time_ms, time_ms_ - 40);
  EXPECT_EQ(versions[3].name(),
            versions[3].name().substr(0, versions[3].name().size() - 5) + ".gone");
  EXPECT_EQ(past.children.count("other"), 1u);
  EXPECT_TRUE(past.gaps.empty());
}

TEST_F(PastReaderTest, AMoveIsToldAtBothEnds) {
  auto rename = [this](const std::string& from, const std::string& to, bool exchange = false) {
    return commit(OpCode::kExtRename, tree::encode(tree::ExtRename{from, to, tree::kAnyCzxid,
                                                                   tree::kAnyCzxid, exchange}));
  };
  auto ends = [this](const std::string& directory) {
    std::string all;
    for (const auto& [name, versions] : children(directory).children) {
      for (const FileVersion& version : versions) {
        if (version.from) all += version.from->path + ">" + name + " ";
        if (version.to) all += name + ">" + version.to->path + " ";
      }
    }
    return all;
  };
  for (const char* name : {"/a", "/x", "/y"}) commit_file(name, name);
  commit(OpCode::kCreate2,
         tree::create_body("/d", {}, acl_for_new(tree::Kind::kDirectory, 0755, 1, 1), 0));
  commit_file("/d/f", "f");
  rename("/a", "/b");
  rename("/b", "/c");
  EXPECT_EQ(ends("/"), "a>/b /a>b b>/c /b>c ");
  rename("/c", "/x");        // over a file
  rename("/x", "/y", true);  // one for the other
  rename("/d", "/e");
  commit_file("/a", "another");  // under a name that was free again
  EXPECT_EQ(ends("/"), "a>/b /a>b b>/c /b>c c>/x d>/e /d>e /c>x /y>x /x>y ");
  EXPECT_EQ(ends("/e"), "/d/f>f ");
  EXPECT_EQ(ends("/d"), "f>/e/f ");
  SubtreePast below;
  ASSERT_TRUE(reader_->read_below("/e", {}, committed_, below).ok());
  ASSERT_EQ(below.moves.size(), 1u);  // what is in a directory goes along
  EXPECT_EQ(below.moves[0].from + ">" + below.moves[0].to, "/d>/e");
}

TEST_F(PastReaderTest, AVersionTellsWhoMadeItOutOfTheLog) {
  commit_file("/f", "one");
  tree::Identities client{{"ip", "10.0.0.7"}, {"digest", "bob:hash"}, {"uid", "1000"}};
  commit(OpCode::kSetAcl, tree::set_acl_body("/f", tree::open_acl(), -1));
  commit(OpCode::kSetData, tree::set_data_body("/f", "two", -1), client);
  commit(OpCode::kDelete, tree::delete_body("/f", -1), client);
  snapshot();
  open({64u << 20, INT64_MAX});
  const std::vector<FileVersion> versions = children("/").children.at("f");
  ASSERT_EQ(versions.size(), 4u);
  EXPECT_FALSE(versions[0].who.uid);
  EXPECT_TRUE(versions[0].who.user.empty() && versions[0].who.client.empty());
  for (size_t i : {2u, 3u}) {
    EXPECT_EQ(versions[i].who.uid, 1000u);
    EXPECT_EQ(versions[i].who.user, "digest:bob");
    EXPECT_EQ(versions[i].who.client, "10.0.0.7");
    EXPECT_EQ(versions[i].who.node, 7);
  }
  Who told = without_names(versions[2].who);
  EXPECT_EQ(told.session, versions[2].who.session);
  EXPECT_EQ(told.node, 7);
  EXPECT_TRUE(!told.uid && told.user.empty() && told.client.empty() && told.program.empty());
}

TEST_F(PastReaderTest, AMultiIsOneVersion) {
  commit_file("/a", "1");
  std::vector<tree::MultiOp> ops;
  ops.push_back({OpCode::kSetData, tree::set_data_body("/a", "2", -1)});
  ops.push_back({OpCode::kSetData, tree::set_data_body("/a", "3", -1)});
  ops.push_back({OpCode::kCreate2, tree::create_body("/b", "4", tree::open_acl(), 0)});
  ops.push_back({OpCode::kCreate2, tree::create_body("/gone", "4", tree::open_acl(), 0)});
  ops.push_back({OpCode::kDelete, tree::delete_body("/gone", -1)});
  Zxid zxid = commit(OpCode::kMulti, tree::multi_body(ops));
  DirectoryPast past = children("/");
  EXPECT_EQ(text(past.children.at("a")), "created:1 changed:3 ");
  EXPECT_EQ(past.children.at("a")[1].zxid, zxid);
  EXPECT_EQ(past.children.at("b")[0].zxid, zxid);
  EXPECT_FALSE(past.children.contains("gone"));
}

TEST_F(PastReaderTest, WhatWasThereBeforeTheLogBegins) {
  open({2 * kSegmentBytes, INT64_MAX});
  Zxid first = commit_file("/old", "as it was");
  for (int i = 0; i < 150; ++i) {
    commit(i == 0 ? OpCode::kCreate2 : OpCode::kSetData,
           i == 0 ? tree::create_body("/busy", std::string(200, 'x'), tree::open_acl(), 0)
                  : tree::set_data_body("/busy", std::string(200, 'x'), -1));
    if (i % 20 == 19) snapshot();
  }
  DirectoryPast past = children("/");
  ASSERT_GT(past.since, first);
  EXPECT_EQ(text(past.children.at("old")), "before:as it was ");
  EXPECT_EQ(past.children.at("old")[0].zxid, first);
  EXPECT_FALSE(reader_->tree_at(first, committed_).ok());
  EXPECT_TRUE(reader_->tree_at(past.since, committed_).ok());
}

TEST_F(PastReaderTest, TheVersionsAndTreesAreTheModels) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    auto pick = [&](size_t below) { return static_cast<size_t>(random() % below); };
    const std::string directory = "/d" + std::to_string(seed);
    commit(OpCode::kCreate2, tree::create_body(directory, "", tree::open_acl(), 0));
    DirectoryPast past;
    PastReader::TreePtr tree;
    size_t begun = pictures_.size();
    for (int i = 0; i < 200; ++i) {
      std::string path = directory + "/" + std::string(1, static_cast<char>('a' + pick(5)));
      if (pick(4) == 0) path += "/below";
      std::string data(pick(120), static_cast<char>('a' + pick(26)));
      switch (pick(5)) {
        case 0:
          commit(OpCode::kDelete, tree::delete_body(path, -1));
          break;
        case 1:
          commit(OpCode::kSetData, tree::set_data_body(path, data, -1));
          break;
        case 2:
          commit(OpCode::kSetAcl,
                 tree::set_acl_body(
                     path, acl_for_new(tree::Kind::kFile, static_cast<uint32_t>(pick(512)), 1, 1),
                     -1));
          break;
        default:
          commit_file(path, data);
      }
      if (pick(30) == 0) snapshot();
      if (pick(40) == 0) {  // in steps, as a mount asks
        if (pick(3) == 0) tree.reset();
        ASSERT_TRUE(reader_->read_children(directory, committed_, past, tree).ok());
      }
    }
    ASSERT_TRUE(reader_->read_children(directory, committed_, past, tree).ok());
    EXPECT_TRUE(past.gaps.empty());
    EXPECT_EQ(picture(*tree), pictures_.rbegin()->second);
    // The same at once.
    DirectoryPast whole = children(directory);
    for (const auto& [name, versions] : whole.children) {
      EXPECT_EQ(text(past.children[name]), text(versions)) << name;
    }
    // Each picture's children are what the versions say.
    auto at = pictures_.begin();
    std::advance(at, static_cast<ptrdiff_t>(begun));
    for (; at != pictures_.end(); ++at) {
      for (char c = 'a'; c < 'f'; ++c) {
        std::string name(1, c), path = directory + "/" + name;
        auto wanted = at->second.find(path);
        const FileVersion* found = nullptr;
        for (const FileVersion& version : past.children[name]) {
          if (version.zxid <= at->first) found = &version;
        }
        bool is_there = found != nullptr && found->what != What::kRemoved;
        ASSERT_EQ(is_there, wanted != at->second.end()) << path << " at " << at->first.value;
        if (!is_there) continue;
        ASSERT_EQ(wanted->second.substr(0, wanted->second.find(' ')), found->data.view());
      }
    }
    for (int i = 0; i < 25; ++i) {
      auto some = pictures_.begin();
      std::advance(some, static_cast<ptrdiff_t>(pick(pictures_.size())));
      StatusOr<PastReader::TreePtr> then = reader_->tree_at(some->first, committed_);
      ASSERT_TRUE(then.ok()) << then.why();
      ASSERT_EQ(picture(**then), some->second);
    }
  }
}

TEST_F(PastReaderTest, TimesNameTheLastChangeUntilThen) {
  std::map<int64_t, Zxid> made;
  for (int i = 0; i < 60; ++i) {
    Zxid zxid = commit_file("/f" + std::to_string(i), std::string(300, 'x'));
    made[time_ms_] = zxid;
  }
  ASSERT_GT(consensus::list_log_segments(log_disk_).size(), 3u);
  for (const auto& [time_ms, zxid] : made) {
    EXPECT_EQ(*reader_->zxid_at(time_ms, committed_), zxid);
    EXPECT_EQ(*reader_->zxid_at(time_ms + 5, committed_), zxid);
  }
  EXPECT_FALSE(reader_->zxid_at(made.begin()->first - 11, committed_).ok());
  EXPECT_EQ(*reader_->zxid_at(INT64_MAX, committed_), made.rbegin()->second);
}

TEST_F(PastReaderTest, ABreakIsToldAndWhatFollowsItIsReadFromTheNextSnapshot) {
  commit_file("/f", "one");
  std::vector<Zxid> all;
  for (int i = 0; i < 80; ++i) {
    all.push_back(commit(OpCode::kSetData,
                         tree::set_data_body("/f", std::string(200, 'x') + std::to_string(i), -1)));
    if (i == 40) snapshot();
  }
  std::string damaged = consensus::list_log_segments(log_disk_)[1].name;
  log_disk_.rot(damaged, 300);
  DirectoryPast past = children("/");
  ASSERT_EQ(past.gaps.size(), 1u);
  EXPECT_FALSE(past.gaps[0].why.empty());
  const std::vector<FileVersion>& versions = past.children.at("f");
  EXPECT_EQ(versions.back().zxid, all.back());
  // Those between the damage and the snapshot are not told, and none is invented.
  EXPECT_LT(versions.size(), all.size());
  for (const FileVersion& version : versions) {
    if (version.what == What::kBefore) continue;
    EXPECT_TRUE(pictures_.contains(version.zxid));
    EXPECT_EQ(pictures_[version.zxid]["/f"].substr(0, version.data.size()), version.data.view());
  }
  EXPECT_FALSE(reader_->tree_at(all[30], committed_).ok());
  EXPECT_TRUE(reader_->tree_at(all[2], committed_).ok());
  ASSERT_TRUE(reader_->tree_at(all[70], committed_).ok());
  EXPECT_EQ(picture(**reader_->tree_at(all[70], committed_)), pictures_[all[70]]);
}

TEST_F(PastReaderTest, ALogThatDoesNotFitItsSnapshotIsABreak) {
  commit_file("/f", "one");
  tree::Tree another;
  consensus::SnapshotStore store(snapshot_disk_);
  ASSERT_TRUE(put_snapshot(store, tree_.last_zxid(), another, 1u << 10).ok());
  Zxid zxid = commit(OpCode::kSetData, tree::set_data_body("/f", "two", -1));
  commit(OpCode::kSetData, tree::set_data_body("/f", "three", -1));
  StatusOr<PastReader::TreePtr> tree = reader_->tree_at(zxid, committed_);
  ASSERT_TRUE(tree.ok()) << "the log goes back to its beginning, without that snapshot";
  EXPECT_EQ(picture(**tree), pictures_[zxid]);
}

TEST_F(PastReaderTest, TheLargestGiveUpTheirContentsFirst) {
  commit_file("/small", "kept");
  commit_file("/large", "");
  std::string data(1'000'000, 'x');
  Zxid first = commit(OpCode::kSetData, tree::set_data_body("/large", data, -1));
  for (int i = 0; i < 80; ++i) {
    data[0] = static_cast<char>('a' + i % 26);
    commit(OpCode::kSetData, tree::set_data_body("/large", data, -1));
  }
  DirectoryPast past = children("/");
  EXPECT_TRUE(past.children.at("small")[0].has_data);
  size_t bytes = 0;
  for (const FileVersion& version : past.children.at("large")) bytes += version.data.size();
  EXPECT_LE(bytes, PastReader::kMaxDataBytes);
  const FileVersion& oldest = past.children.at("large")[1];
  ASSERT_EQ(oldest.zxid, first);
  EXPECT_FALSE(oldest.has_data);
  StatusOr<tree::Bytes> found = reader_->data_of("/large", first, committed_);
  ASSERT_TRUE(found.ok());
  EXPECT_EQ(found->view(), std::string(1'000'000, 'x'));
}

TEST_F(PastReaderTest, WhatWasChangedBelowADirectory) {
  commit(OpCode::kCreate2, tree::create_body("/d", "", tree::open_acl(), 0));
  tree::AclList closed = acl_for_new(tree::Kind::kDirectory, 0700, 1, 1);
  commit(OpCode::kCreate2, tree::create_body("/d/closed", "", closed, 0));
  commit_file("/d/closed/f", "x");
  commit_file("/d/f", "x");
  commit(OpCode::kCreate2, tree::create_body("/d/@", "", tree::open_acl(), 0));
  commit_file("/d/@/hidden", "x");
  commit_file("/elsewhere", "x");
  commit(OpCode::kDelete, tree::delete_body("/d/f", -1));
  auto told = [&](uint32_t uid) {
    SubtreePast past;
    EXPECT_TRUE(reader_->read_below("/d", Caller{{uid, {uid}}, uid}, committed_, past).ok());
    std::string all;
    for (const ChangeBelow& change : past.changes) {
      all += std::string(name_of(change.what)) + ":" + change.path + " ";
    }
    return all;
  };
  EXPECT_EQ(told(0), "created:/d created:/d/closed created:/d/closed/f created:/d/f removed:/d/f ");
  EXPECT_EQ(told(2), "created:/d created:/d/closed created:/d/f removed:/d/f ");
}

}  // namespace
}  // namespace zabfs::fsd
