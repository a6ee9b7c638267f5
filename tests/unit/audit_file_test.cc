#include "fsd/audit/audit_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace zabfs::fsd::audit {
namespace {

namespace fs = std::filesystem;

class AuditFile : public testing::Test {
 protected:
  AuditFile() {
    std::string name = fs::temp_directory_path() / "zabfs-audit-XXXXXX";
    directory_ = ::mkdtemp(name.data());
    file_ = directory_ / "audit.log";
  }
  ~AuditFile() override { fs::remove_all(directory_); }

  static std::string why(const fs::path& file) { return open_audit_file(file.string()).why(); }

  fs::path directory_, file_;
};

TEST_F(AuditFile, IsMadeForItsOwnerAloneAndAppendedTo) {
  for (int i = 0; i < 2; ++i) {
    StatusOr<Descriptor> file = open_audit_file(file_.string());
    ASSERT_TRUE(file.ok()) << file.why();
    EXPECT_EQ(::write(file->get(), "a", 1), 1);
  }
  struct stat st = {};
  ASSERT_EQ(::stat(file_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_EQ(st.st_size, 2);
}

TEST_F(AuditFile, IsReachedThroughNoSymbolicLink) {
  fs::path other = directory_ / "other", link = directory_ / "link";
  fs::create_directory(other);
  fs::create_symlink(other, link);
  fs::create_symlink(other / "new", directory_ / "file");
  EXPECT_NE(why(link / "audit.log").find(link.string() + ": "), std::string::npos);
  EXPECT_NE(why(directory_ / "file").find("symbolic links are not followed"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(other));
}

TEST_F(AuditFile, IsInNoDirectoryThatOthersCanChange) {
  fs::path open = directory_ / "open";
  fs::create_directories(open / "inner");
  for (mode_t mode : {0777u, 0775u, 0757u}) {
    ASSERT_EQ(::chmod(open.c_str(), mode), 0);
    EXPECT_NE(why(open / "inner" / "audit.log").find("others can write to " + open.string()),
              std::string::npos);
    EXPECT_TRUE(fs::is_empty(open / "inner"));
  }
  ASSERT_EQ(::chmod(open.c_str(), 01777), 0);
  EXPECT_EQ(why(open / "inner" / "audit.log"), "");
}

TEST_F(AuditFile, IsNotTakenFromOthers) {
  std::ofstream(file_).close();
  ASSERT_EQ(::chmod(file_.c_str(), 0620), 0);
  EXPECT_NE(why(file_).find("others can write to"), std::string::npos);
  ASSERT_EQ(::chmod(file_.c_str(), 0640), 0);
  EXPECT_EQ(why(file_), "");
  fs::create_hard_link(file_, directory_ / "other");
  EXPECT_NE(why(file_).find("has 2 names"), std::string::npos);
  fs::remove(directory_ / "other");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(file_.c_str(), 12345, 0), 0);
    EXPECT_NE(why(file_).find("user 12345 owns"), std::string::npos);
  }
}

TEST_F(AuditFile, IsARegularFileWithAnAbsolutePath) {
  EXPECT_NE(why(directory_), "");
  ASSERT_EQ(::mkfifo((directory_ / "fifo").c_str(), 0600), 0);
  EXPECT_NE(why(directory_ / "fifo"), "");  // nobody reads there: it is not waited for
  for (const char* path : {"", "audit.log", "a/audit.log", "/", "/tmp/"}) {
    EXPECT_NE(why(path).find("is no absolute path of a file"), std::string::npos) << path;
  }
}

}  // namespace
}  // namespace zabfs::fsd::audit
