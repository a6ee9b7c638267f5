// Tars: what is written comes back, and a hostile or damaged one is refused with a reason.
#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <clocale>
#include <functional>

#include "fsd/archive/archive_sink.h"
#include "fsd/archive/archive_source.h"
#include "fsd/archive/attributes.h"
#include "fsd/beneath.h"

namespace zabfs::archive {
namespace {

class Archives : public testing::Test {
 protected:
  Archives() { std::setlocale(LC_CTYPE, "C.UTF-8"); }

  static fsd::Descriptor new_memory() {
    return fsd::Descriptor(::memfd_create("archive", MFD_CLOEXEC));
  }
  static fsd::Descriptor memory_of(std::string_view bytes) {
    fsd::Descriptor file = new_memory();
    EXPECT_EQ(::pwrite(file.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    return file;
  }
  static std::string bytes_of(int fd) {
    std::string bytes(static_cast<size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
    return bytes;
  }
  static std::string written(const std::vector<Entry>& entries, Packing packing) {
    fsd::Descriptor file = new_memory();
    ArchiveSink sink(file.get(), "test", packing);
    for (const Entry& entry : entries) EXPECT_TRUE(sink.put(entry).ok());
    EXPECT_TRUE(sink.finish().ok());
    return bytes_of(file.get());
  }
  // A tar with one entry, as somebody else would make it.
  static std::string tar_of(const std::function<void(::archive_entry*)>& fill,
                            std::string_view data = {}) {
    fsd::Descriptor file = new_memory();
    ::archive* a = archive_write_new();
    archive_write_set_format_pax(a);
    archive_write_open_fd(a, file.get());
    archive_entry* header = archive_entry_new();
    archive_entry_set_filetype(header, AE_IFREG);
    archive_entry_set_perm(header, 0644);
    archive_entry_set_size(header, static_cast<int64_t>(data.size()));
    fill(header);
    archive_write_header(a, header);
    archive_write_data(a, data.data(), data.size());
    archive_entry_free(header);
    archive_write_close(a);
    archive_write_free(a);
    return bytes_of(file.get());
  }
  // All entries, or why not.
  StatusOr<std::vector<Entry>> read(std::string_view bytes) {
    fsd::Descriptor file = memory_of(bytes);
    ArchiveSource source(file.get(), "test");
    std::vector<Entry> entries;
    while (true) {
      Source::Taken taken = source.next();
      if (!taken.status.ok()) return taken.status;
      if (!taken.entry) return entries;
      EXPECT_TRUE(transfer::check(*taken.entry).ok());
      entries.push_back(std::move(*taken.entry));
    }
  }
  std::string why_refused(const std::function<void(::archive_entry*)>& fill,
                          std::string_view data = {}) {
    return read(tar_of(fill, data)).why();
  }

  static std::vector<Entry> tree() {
    Entry top, directory, file, link, fifo;
    top.kind = directory.kind = Kind::kDirectory;
    top.mode = 0755;
    directory.path = "a dir";
    directory.mode = 02770;
    directory.uid = 3'000'000'000;
    directory.gid = 7;
    directory.mtime = {1'700'000'000, 123'456'789};
    directory.acl = {{31, {"sasl", "a:b"}}, {1, {"world", "anyone"}}};
    directory.is_container = true;
    file.path = "a dir/é " + std::string(200, 'n');
    file.mode = 04755;
    file.mtime = {-5, 1};
    file.ttl_ms = 99;
    file.is_plain = true;
    file.acl = zabfs::tree::open_acl();
    file.data = std::string(100'000, 'x');
    link.path = "a dir/link";
    link.kind = Kind::kSymlink;
    link.mode = 0777;
    link.data = "../" + std::string(150, 't');
    fifo.path = "pipe";
    fifo.kind = Kind::kFifo;
    return {top, directory, file, link, fifo};
  }
};

TEST_F(Archives, ComeBackTheSame) {
  for (Packing packing : {Packing::kNone, Packing::kGzip, Packing::kXz, Packing::kZstd}) {
    StatusOr<std::vector<Entry>> found = read(written(tree(), packing));
    ASSERT_TRUE(found.ok()) << found.why();
    std::vector<Entry> expected = tree();
    ASSERT_EQ(found->size(), expected.size());
    for (size_t i = 0; i < expected.size(); ++i) EXPECT_TRUE((*found)[i] == expected[i]) << i;
  }
}

TEST_F(Archives, ADirectorysOwnDataIsAnEntryOfItsOwn) {
  std::vector<Entry> all = tree();
  all[1].data = "own";
  StatusOr<std::vector<Entry>> found = read(written(all, Packing::kNone));
  ASSERT_TRUE(found.ok()) << found.why();
  ASSERT_EQ(found->size(), all.size() + 1);
  EXPECT_EQ((*found)[2].path, "a dir");
  EXPECT_EQ((*found)[2].part, Part::kOwnData);
  EXPECT_EQ((*found)[2].data, "own");
}

TEST_F(Archives, DirectoriesThatAreNotNamedAreImplied) {
  StatusOr<std::vector<Entry>> found =
      read(tar_of([](::archive_entry* e) { archive_entry_set_pathname(e, "a/b/c"); }));
  ASSERT_TRUE(found.ok()) << found.why();
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].path, "a");
  EXPECT_EQ((*found)[1].path, "a/b");
  EXPECT_EQ((*found)[1].part, Part::kImplied);
  EXPECT_EQ((*found)[2].path, "a/b/c");
}

TEST_F(Archives, NamesThatLeadElsewhereAreRefused) {
  for (const char* name :
       {"../x", "/etc/passwd", "a/../../x", "a/@", "@/data/x", "a//b", "a\nb", "x/@/lock"}) {
    std::string why =
        why_refused([name](::archive_entry* e) { archive_entry_set_pathname(e, name); });
    EXPECT_NE(why, "") << name;
  }
  std::string why =
      why_refused([](::archive_entry* e) { archive_entry_set_pathname(e, "../../x"); });
  EXPECT_NE(why.find("../../x"), std::string::npos) << why;
  std::string deep = "d";
  while (deep.size() <= zabfs::tree::kMaxPathBytes) deep += "/d";
  EXPECT_NE(why_refused([&](::archive_entry* e) { archive_entry_set_pathname(e, deep.c_str()); }),
            "");
}

TEST_F(Archives, OtherKindsAreRefusedByName) {
  auto named = [](::archive_entry* e) { archive_entry_set_pathname(e, "evil"); };
  auto device = [&](::archive_entry* e) {
    named(e);
    archive_entry_set_filetype(e, AE_IFCHR);
  };
  auto hard_link = [&](::archive_entry* e) {
    named(e);
    archive_entry_set_hardlink(e, "/etc/passwd");
  };
  auto giant = [&](::archive_entry* e) {
    named(e);
    archive_entry_set_size(e, int64_t{1} << 40);
    archive_entry_sparse_add_entry(e, (int64_t{1} << 40) - 1, 1);
  };
  auto acl = [&](::archive_entry* e) {
    named(e);
    archive_entry_xattr_add_entry(e, "user.zabfs.acl", "nonsense", 8);
  };
  for (const std::function<void(::archive_entry*)>& fill :
       std::vector<std::function<void(::archive_entry*)>>{device, hard_link, giant, acl}) {
    std::string why = why_refused(fill);
    EXPECT_NE(why.find("evil"), std::string::npos) << why;
  }
}

TEST_F(Archives, ACutOffTarIsRefused) {
  std::string whole = written(tree(), Packing::kNone);
  ASSERT_TRUE(read(whole).ok());
  size_t end = whole.find_last_not_of('\0') / 512 * 512 + 512;  // the zeros begin here
  for (size_t size = 0; size <= end; size += 512) {
    EXPECT_FALSE(read(whole.substr(0, size)).ok()) << size;
  }
  for (Packing packing : {Packing::kGzip, Packing::kXz, Packing::kZstd}) {
    std::string packed = written(tree(), packing);
    for (size_t size = 1; size < packed.size(); size += 1 + packed.size() / 50) {
      EXPECT_FALSE(read(packed.substr(0, size)).ok()) << size;
    }
    EXPECT_FALSE(read(packed.substr(0, packed.size() - 1)).ok());
  }
  EXPECT_FALSE(read("").ok());
  EXPECT_FALSE(read("this is no tar").ok());
}

TEST_F(Archives, ASinkThatWasNotFinishedHasNoEnd) {
  fsd::Descriptor file = new_memory();
  {
    ArchiveSink sink(file.get(), "test", Packing::kNone);
    for (const Entry& entry : tree()) EXPECT_TRUE(sink.put(entry).ok());
  }
  EXPECT_FALSE(read(bytes_of(file.get())).ok());
}

TEST(ArchiveNames, SayWhatTheyStandFor) {
  auto path = [](const char* name) { return entry_named(name)->path; };
  EXPECT_EQ(path("./"), "");
  EXPECT_EQ(path("."), "");
  EXPECT_EQ(path("./a/b/"), "a/b");
  EXPECT_EQ(path(".//a"), "a");
  EXPECT_TRUE(entry_named("./@/data")->is_own_data);
  EXPECT_EQ(path("./@/data"), "");
  EXPECT_EQ(path("a/@/data"), "a");
  EXPECT_TRUE(entry_named("a/@/")->is_room);
  EXPECT_EQ(packing_of("x.tar.zst"), Packing::kZstd);
  EXPECT_EQ(packing_of("x.tgz"), Packing::kGzip);
  EXPECT_EQ(packing_of("x.zip"), std::nullopt);
}

}  // namespace
}  // namespace zabfs::archive
