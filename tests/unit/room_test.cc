// Handles of the control room on one replica, whose disk and clock do what the test says.
#include "fsd/recipes/room.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "fsd/recipes/handles.h"
#include "fsd/transfer/record.h"
#include "unit/session_fixture.h"

namespace zabfs::fsd {
namespace {

class RoomTest : public SessionTest, public consensus::ReplicaListener {
 protected:
  RoomTest() {
    replica_->add_listener(this);
    session_.set_on_lost([this](SessionId lost) { room_.session_lost(lost); });
    writer_.start();
    make("/d");
  }
  void published(const std::vector<tree::Change>& changes) override { room_.published(changes); }

  void make(const std::string& path, const std::string& data = "") {
    tree::AclList acl = acl_for_new(data.empty() ? tree::Kind::kDirectory : tree::Kind::kFile,
                                    data.empty() ? 0755 : 0644, 0, 0);
    submit(OpCode::kCreate, tree::create_body(path, data, acl, tree::kCreatePersistent));
  }
  void remove(const std::string& path) {
    submit(OpCode::kDelete, tree::delete_body(path, tree::kAnyVersion));
  }
  // By somebody else.
  void submit(OpCode type, std::string body) {
    on_strand([&] {
      replica_->submit(tree::superuser_request({}, ++cxid_, type, std::move(body)), note(errors_));
    });
    run();
    ASSERT_EQ(errors_.back(), Error::kOk);
  }
  // Its answer comes before it does.
  void let_time_out() { wait(kCommitMs + 200); }
  size_t children(const std::string& path) {
    const tree::ZNode* node = replica_->tree().find(path);
    return node == nullptr ? 0 : node->children.size();
  }

  // What came of one call; `is_there` once it has an answer.
  struct Reply {
    bool is_there = false;
    FileError error = FileError::kOk;
    std::string bytes;
  };
  using ReplyPtr = std::shared_ptr<Reply>;
  ReplyPtr open(const HandlePtr& handle) {
    auto reply = std::make_shared<Reply>();
    on_strand([&] { handle->open([reply](FileError error) { *reply = {true, error, ""}; }); });
    return reply;
  }
  ReplyPtr write(const HandlePtr& handle, const std::string& bytes) {
    auto reply = std::make_shared<Reply>();
    on_strand([&] {
      handle->write(bytes, 0, true, [reply](FileError error) { *reply = {true, error, ""}; });
    });
    return reply;
  }
  ReplyPtr sync(const HandlePtr& handle) {
    auto reply = std::make_shared<Reply>();
    on_strand([&] { handle->flush([reply](FileError error) { *reply = {true, error, ""}; }); });
    return reply;
  }
  ReplyPtr read(const HandlePtr& handle) {
    auto reply = std::make_shared<Reply>();
    on_strand([&] {
      handle->read(++reads_, 1'000, 0, true, [reply](FileError error, std::string_view bytes) {
        *reply = {true, error, std::string(bytes)};
      });
    });
    return reply;
  }
  void release(const HandlePtr& handle) {
    on_strand([&] { handle->close(); });
  }

  Room room_{*this, session_, writer_, ViewOptions{}};
  uint64_t reads_ = 0;
};

// ---- import

std::string stream_of(bool removes_others, const std::string& file = "") {
  std::string stream;
  transfer::Header header;
  header.removes_others = removes_others;
  transfer::encode(header, stream);
  transfer::End end;
  if (!file.empty()) {
    transfer::Entry entry;
    entry.path = file;
    entry.mode = 0644;
    transfer::encode(entry, stream);
    end.entries = 1;
  }
  transfer::encode(end, stream);
  return stream;
}

TEST_F(RoomTest, AWriteBehindTheEndOfAnImportIsRefusedWhenAllIsDone) {
  HandlePtr import = open_import(room_, "/d", {});
  open(import);
  ReplyPtr whole = write(import, stream_of(false, "f"));
  run();
  EXPECT_TRUE(whole->is_there && whole->error == FileError::kOk);
  EXPECT_TRUE(is_there("/d/f"));
  ReplyPtr more = write(import, "\n");
  EXPECT_TRUE(more->is_there);
  EXPECT_EQ(more->error, FileError::kInvalid);
  ReplyPtr flushed = sync(import);
  EXPECT_TRUE(flushed->is_there && flushed->error == FileError::kOk);
  release(import);
}

TEST_F(RoomTest, AWriteBehindTheEndOfAnImportIsRefusedWhileOthersAreRemoved) {
  make("/d/other", "x");
  HandlePtr import = open_import(room_, "/d", {});
  open(import);
  ReplyPtr whole = write(import, stream_of(true));
  EXPECT_TRUE(whole->is_there && whole->error == FileError::kOk);
  ReplyPtr more = write(import, "\n");
  EXPECT_TRUE(more->is_there);
  EXPECT_EQ(more->error, FileError::kInvalid);
  ReplyPtr flushed = sync(import);
  run();
  EXPECT_TRUE(flushed->is_there && flushed->error == FileError::kOk);
  EXPECT_FALSE(is_there("/d/other"));
  release(import);
}

// ---- what is made too late for who asked for it

TEST_F(RoomTest, AMemberOfABarrierWhoseOpenTimedOutLeavesIt) {
  HandlePtr barrier = open_barrier(room_, "/d", 2, {});
  ReplyPtr opened = open(barrier);
  let_time_out();
  EXPECT_TRUE(opened->is_there && opened->error != FileError::kOk);
  release(barrier);
  run();
  EXPECT_EQ(children("/d"), 0u);
}

TEST_F(RoomTest, AnEphemeralWhoseOpenTimedOutGoes) {
  FileError made = FileError::kOk;
  on_strand([&] {
    room_.make(Control::kEphemeral, "/d", "e", {},
               [&](FileError error, const HandlePtr&) { made = error; });
  });
  let_time_out();
  EXPECT_NE(made, FileError::kOk);
  run();
  EXPECT_FALSE(is_there("/d/e"));
}

// ---- queues

TEST_F(RoomTest, WhoWaitsForAnItemHearsThatTheDirectoryIsGone) {
  for (Control control : {Control::kQueue, Control::kWork}) {
    make("/d/sub");
    HandlePtr queue = room_.open(control, "/d/sub", "", {});
    bool is_polled = false;
    queue->set_on_readable([&] { is_polled = true; });
    open(queue);
    ReplyPtr waiting = read(queue);
    EXPECT_FALSE(waiting->is_there || is_polled);
    remove("/d/sub");
    EXPECT_TRUE(waiting->is_there && is_polled);
    EXPECT_EQ(waiting->error, FileError::kStale);
    release(queue);
  }
}

TEST_F(RoomTest, TwoReadsOfOneHandleGetTheSameWork) {
  HandlePtr writer = open_work(room_, "/d", {}), reader = open_work(room_, "/d", {});
  for (const char* item : {"one", "two"}) {
    write(writer, item);
    run();
  }
  ReplyPtr first = read(reader), second = read(reader);
  run();
  EXPECT_EQ(first->bytes, "one");
  EXPECT_EQ(second->bytes, "one");
  EXPECT_EQ(children("/d/@/work/w-0000000000"), 1u);
  EXPECT_EQ(children("/d/@/work/w-0000000001"), 0u);
  write(reader, "ack");
  run();
  ReplyPtr next = read(reader);
  run();
  EXPECT_EQ(next->bytes, "two");
  release(reader);
  release(writer);
  run();
  EXPECT_EQ(children("/d/@/work/w-0000000001"), 0u);
}

TEST_F(RoomTest, WhoWaitsForAClaimThatFailsClaimsItself) {
  HandlePtr writer = open_work(room_, "/d", {}), reader = open_work(room_, "/d", {});
  HandlePtr other = open_work(room_, "/d", {});
  write(writer, "one");
  run();
  ReplyPtr first = read(reader), later = read(other), last = read(reader);
  let_time_out();
  EXPECT_TRUE(first->is_there && first->error != FileError::kOk);
  EXPECT_FALSE(later->is_there || last->is_there);
  run();
  EXPECT_EQ(later->bytes, "one");  // it asked before
  EXPECT_FALSE(last->is_there);
  release(other);
  run();
  EXPECT_EQ(last->bytes, "one");
  release(reader);
  release(writer);
  run();
}

}  // namespace
}  // namespace zabfs::fsd
