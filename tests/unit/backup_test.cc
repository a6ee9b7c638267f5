#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "fsd/backup/format.h"
#include "fsd/backup/output.h"
#include "fsd/backup/reader.h"
#include "fsd/backup/snapshot_source.h"
#include "fsd/backup/writer.h"
#include "tree/snapshot.h"
#include "unit/tree_fixture.h"

namespace zabfs::backup {
namespace {

constexpr uint64_t kMuch = 1u << 30;

StatusOr<Backup> read(std::string_view file, size_t piece = 4'096, uint64_t max_bytes = kMuch) {
  return read_backup(
      [&file, piece]() -> StatusOr<std::string_view> {
        std::string_view next = file.substr(0, piece);
        file.remove_prefix(next.size());
        return next;
      },
      max_bytes);
}

std::string zstd(std::string_view content, int window_log = 0) {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  if (window_log != 0) ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
  std::string out(ZSTD_compressBound(content.size()), '\0');
  ZSTD_inBuffer input{content.data(), content.size(), 0};
  ZSTD_outBuffer output{out.data(), out.size(), 0};
  // In two steps: so that it does not know how much it will be.
  ZSTD_compressStream2(context.get(), &output, &input, ZSTD_e_continue);
  EXPECT_EQ(ZSTD_compressStream2(context.get(), &output, &input, ZSTD_e_end), 0u);
  out.resize(output.pos);
  return out;
}

class BackupTest : public tree::TreeFixture {
 protected:
  BackupTest() {
    tree::SessionId session = open_session(5);
    for (int i = 0; i < 20; ++i) {
      std::string path = "/n" + std::to_string(i);
      create(path, "data" + std::to_string(i));
      create(path + "/gone", "x", tree::kCreateEphemeral, session);
      create(path + "/stays", std::string(static_cast<size_t>(i), 'y'));
    }
    header_.zxid = tree_.last_zxid();
    header_.time_ms = 1'796'000'000'123;
    header_.node = 3;
    header_.epoch = 7;
    header_.is_serving = true;
    header_.version = "0.1.0";
    header_.members = {"server.1=a:1:2:participant;3", "version=100000000"};
  }
  std::string stream() {
    std::unique_ptr<tree::SnapshotCursor> cursor = tree_.begin_snapshot();
    std::string bytes;
    while (cursor->next(bytes, 1'000)) {
    }
    return bytes;
  }
  std::string write() {
    std::string file;
    BackupWriter writer([&file](std::string_view bytes) {
      file.append(bytes);
      return Status();
    });
    EXPECT_TRUE(writer.begin(header_).ok());
    EXPECT_TRUE(writer.add(stream()).ok());
    Status finished = writer.finish();
    EXPECT_TRUE(finished.ok()) << finished.why();
    counts_ = writer.counts();
    return file;
  }
  // The content of a backup of that stream, whatever that is.
  std::string content(std::string_view stream, const Counts& counts) const {
    return header_text(header_) + length_bytes(stream.size()) + std::string(stream) +
           length_bytes(0) + trailer_text(counts);
  }
  std::string lasting_stream() {
    std::string out;
    tree::LastingSnapshot lasting;
    EXPECT_TRUE(lasting.feed(stream(), out).ok());
    counts_ = lasting.counts();
    return out;
  }
  static std::string why(std::string_view content) {
    StatusOr<Backup> backup = read(zstd(content));
    EXPECT_FALSE(backup.ok());
    return backup.why();
  }

  Header header_;
  Counts counts_;
};

TEST_F(BackupTest, WhatIsWrittenIsReadAgain) {
  std::string file = write();
  for (size_t piece : {size_t{1}, size_t{100}, file.size()}) {
    StatusOr<Backup> backup = read(file, piece);
    ASSERT_TRUE(backup.ok()) << backup.why();
    EXPECT_EQ(header_text(backup->header), header_text(header_));
    EXPECT_EQ(backup->counts, counts_);
    EXPECT_EQ(backup->counts.ephemerals, 20u);
    EXPECT_EQ(backup->counts.sessions, 1u);
    EXPECT_EQ(backup->tree->last_zxid(), header_.zxid);
    EXPECT_EQ(backup->tree->node_count(), tree_.node_count() - 20);
    EXPECT_EQ(backup->tree->find("/n3/stays")->data.view(), "yyy");
    EXPECT_EQ(backup->tree->find("/n3/gone"), nullptr);
  }
}

TEST_F(BackupTest, OneThatIsCutShortIsRefusedWhereverThatIs) {
  std::string file = write();
  for (size_t size = 0; size < file.size(); ++size) {
    StatusOr<Backup> backup = read(std::string_view(file).substr(0, size));
    ASSERT_FALSE(backup.ok()) << size;
    std::string expected = "it ends at byte " + std::to_string(size);
    EXPECT_NE(backup.why().find(expected), std::string::npos) << backup.why();
  }
}

TEST_F(BackupTest, NoBitThatIsFlippedMakesItAnother) {
  std::string file = write();
  size_t refused = 0;
  for (size_t bit = 0; bit < 8 * file.size(); ++bit) {
    std::string flipped = file;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ 1 << bit % 8);
    StatusOr<Backup> backup = read(flipped);
    refused += !backup.ok();
    if (!backup.ok()) continue;  // zstd can say the same in another way
    EXPECT_EQ(header_text(backup->header), header_text(header_));
    EXPECT_EQ(backup->counts, counts_);
    EXPECT_EQ(backup->tree->digest(), counts_.digest);
  }
  EXPECT_GT(refused, 8 * file.size() * 99 / 100);
}

TEST_F(BackupTest, NothingMayBeBehindIt) {
  std::string file = write();
  EXPECT_NE(read(file + "x").why().find("more behind its end"), std::string::npos);
  EXPECT_NE(read(file + file).why().find("more behind its end"), std::string::npos);
  EXPECT_NE(read(file + "x", file.size()).why().find("more behind its end"), std::string::npos);
  std::string lasting = lasting_stream();
  EXPECT_NE(why(content(lasting, counts_) + "x").find("more behind"), std::string::npos);
}

TEST_F(BackupTest, ContentOfTheRightFormIsRefusedIfItIsAnotherTree) {
  std::string lasting = lasting_stream();
  ASSERT_TRUE(read(zstd(content(lasting, counts_))).ok());
  Counts other = counts_;
  other.znodes += 1;
  EXPECT_NE(why(content(lasting, other)).find("it should have"), std::string::npos);
  other = counts_;
  other.digest ^= 1;
  EXPECT_NE(why(content(lasting, other)).find("it should have"), std::string::npos);
  EXPECT_NE(why(content(stream(), counts_)).find("sessions or ephemerals"), std::string::npos);
  EXPECT_FALSE(why(content(lasting.substr(0, lasting.size() / 2), counts_)).empty());
  EXPECT_FALSE(why(content("", counts_)).empty());
  EXPECT_FALSE(why(content(std::string(1'000, '\xff'), counts_)).empty());
}

TEST_F(BackupTest, WhatHasNoBoundIsRefused) {
  EXPECT_NE(why("zabfs-backup 2\nzxid 0x1\n\n").find("a later zabfs"), std::string::npos);
  EXPECT_NE(why("hello").find("no backup"), std::string::npos);
  EXPECT_NE(read("hello").why().find("no backup"), std::string::npos);
  EXPECT_FALSE(read("").ok());
  std::string head = header_text(header_);
  EXPECT_NE(why(head + length_bytes(kMaxChunkBytes + 1)).find("too long"), std::string::npos);
  std::string first(kFirstLine);
  EXPECT_NE(why(first + "x " + std::string(kMaxHeaderBytes, 'x')).find("too long"),
            std::string::npos);
  std::string lines;
  for (size_t i = 0; i <= kMaxLines; ++i) lines += "member x\n";
  EXPECT_NE(why(first + "zxid 0x1\n" + lines + "\n").find("too many"), std::string::npos);
  EXPECT_NE(why(first + "zxid x\n\n").find("\"zxid x\" is wrong"), std::string::npos);
  EXPECT_NE(why(first + "node 1\n\n").find("no line with its zxid"), std::string::npos);
  EXPECT_NE(why(first + "zxid 0x1\nversion \x1b[1m\n\n").find("?[1m"), std::string::npos);
  std::string whole = content(lasting_stream(), counts_);
  EXPECT_NE(read(zstd(whole), 100, whole.size() - 1).why().find("memory"), std::string::npos);
  std::string behind = head + length_bytes(0) + std::string(kMaxTrailerBytes + 1, 'x');
  EXPECT_NE(why(behind).find("too long"), std::string::npos);
}

TEST_F(BackupTest, OneThatWantsMuchMemoryToUnpackIsRefused) {
  EXPECT_NE(read(zstd(content(lasting_stream(), counts_), kMaxWindowLog + 3)).why().find("memory"),
            std::string::npos);
}

TEST_F(BackupTest, AStreamThatIsNoneMakesNoBackup) {
  BackupWriter writer([](std::string_view) { return Status(); });
  ASSERT_TRUE(writer.begin(header_).ok());
  std::string whole = stream();
  ASSERT_TRUE(writer.add(std::string_view(whole).substr(0, whole.size() / 2)).ok());
  EXPECT_FALSE(writer.finish().ok());
}

TEST_F(BackupTest, WhatTheSinkSaysCounts) {
  BackupWriter writer([](std::string_view) { return Status::failed("no room"); });
  ASSERT_TRUE(writer.begin(header_).ok());
  Status status = writer.add(stream());
  if (status.ok()) status = writer.finish();
  EXPECT_EQ(status.why(), "no room");
}

class OutputTest : public testing::Test {
 protected:
  OutputTest() {
    char name[] = "/tmp/zabfs-output-XXXXXX";
    directory_ = ::mkdtemp(name);
  }
  ~OutputTest() override { std::filesystem::remove_all(directory_); }
  size_t files() const {
    auto entries = std::filesystem::directory_iterator(directory_);
    return static_cast<size_t>(std::distance(begin(entries), end(entries)));
  }

  std::string directory_;
};

TEST_F(OutputTest, IsThereOnceItIsFinishedAndItsMakersAlone) {
  std::string path = directory_ + "/backup";
  {
    Output given_up(path);
    ASSERT_TRUE(given_up.open().ok());
    ASSERT_TRUE(given_up.write("half").ok());
  }
  EXPECT_EQ(files(), 0u);
  Output output(path);
  ASSERT_TRUE(output.open().ok());
  ASSERT_TRUE(output.write("all of it").ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE(output.finish().ok());
  struct stat found = {};
  ASSERT_EQ(::stat(path.c_str(), &found), 0);
  EXPECT_EQ(found.st_mode & 07777, 0600u);
  EXPECT_EQ(found.st_size, 9);
  EXPECT_EQ(output.bytes(), 9u);
  EXPECT_EQ(files(), 1u);
}

TEST_F(OutputTest, NeverTakesThePlaceOfAnotherFile) {
  std::string path = directory_ + "/backup";
  Output late(path);
  ASSERT_TRUE(late.open().ok());
  std::ofstream(path) << "another";
  EXPECT_NE(late.finish().why().find("is there by now"), std::string::npos);
  EXPECT_NE(Output(path).open().why().find("is there already"), std::string::npos);
  ASSERT_EQ(::symlink("/nowhere", (directory_ + "/link").c_str()), 0);
  EXPECT_NE(Output(directory_ + "/link").open().why().find("is there already"), std::string::npos);
  EXPECT_EQ(std::filesystem::file_size(path), 7u);
  EXPECT_NE(Output(directory_ + "/none/backup").open().why().find("No such file"),
            std::string::npos);
}

TEST_F(OutputTest, OnlyAFileIsReadAsASnapshot) {
  std::string path = directory_ + "/pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  EXPECT_NE(open_to_read(path).why().find("is no file"), std::string::npos);
  ASSERT_EQ(::symlink("/etc/passwd", (directory_ + "/link").c_str()), 0);
  EXPECT_FALSE(open_to_read(directory_ + "/link").ok());
  std::ofstream(directory_ + "/text") << "nonsense";
  auto file = open_to_read(directory_ + "/text");
  ASSERT_TRUE(file.ok()) << file.why();
  auto take = [](std::string_view, uint64_t) { return Status(); };
  EXPECT_FALSE(read_snapshot(std::move(*file), "text", tree::Zxid{1}, take).ok());
}

}  // namespace
}  // namespace zabfs::backup
