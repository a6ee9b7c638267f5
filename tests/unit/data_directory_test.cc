#include "consensus/data_directory.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "consensus/posix_disk.h"

namespace zabfs::consensus {
namespace {

class DirectoryTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/zabfs-directory-XXXXXX";
    path_ = ::mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(path_); }
  std::string path_;
};

TEST_F(DirectoryTest, ACheckChangesNothing) {
  DataDirectory directory;
  EXPECT_EQ(directory.check(path_, tree::ServerId{1}).why(), "");
  EXPECT_TRUE(std::filesystem::is_empty(path_));
}

TEST_F(DirectoryTest, BelongsToOneServerAndOneProcess) {
  {
    DataDirectory first, second;
    EXPECT_EQ(first.open(path_, tree::ServerId{1}).why(), "");
    EXPECT_NE(second.open(path_, tree::ServerId{1}).why().find("in use"), std::string::npos);
    EXPECT_FALSE(second.is_misconfigured());
  }
  DataDirectory other;
  EXPECT_NE(other.check(path_, tree::ServerId{2}).why().find("another node"), std::string::npos);
  EXPECT_TRUE(other.is_misconfigured());
  EXPECT_EQ(other.open(path_, tree::ServerId{1}).why(), "");
}

TEST_F(DirectoryTest, JavasDataIsToBeTakenOverFirst) {
  auto check = [this](const std::string& logs) {
    return DataDirectory::check_taken_over(path_, logs, tree::ServerId{3});
  };
  std::string logs = path_ + "/lo'gs";
  std::filesystem::create_directories(path_ + "/version-2");
  std::filesystem::create_directories(logs + "/version-2");
  std::ofstream(path_ + "/version-2/acceptedEpoch") << "1";
  EXPECT_TRUE(check("").ok());
  std::ofstream(logs + "/version-2/log.100000001") << "x";
  EXPECT_TRUE(check("").ok());
  std::string why = check(logs).why();
  EXPECT_NE(why.find("`zabfs import-zookeeper " + path_ + " --log '" + path_ + "/lo'\\''gs' " +
                     path_ + " --to-log '" + path_ + "/lo'\\''gs' --server 3`"),
            std::string::npos)
      << why;
  std::ofstream(path_ + "/version-2/snapshot.0") << "x";
  why = check("").why();
  EXPECT_NE(why.find("`zabfs import-zookeeper " + path_ + " " + path_ + " --server 3`"),
            std::string::npos)
      << why;
  DataDirectory ours;
  EXPECT_TRUE(ours.open(path_, tree::ServerId{3}).ok());
  EXPECT_TRUE(check("").ok());
}

TEST_F(DirectoryTest, PosixDiskReadsWhatItWrote) {
  PosixDisk disk(path_);
  std::unique_ptr<File> file;
  EXPECT_EQ(disk.open("a", false, file).error, ENOENT);
  ASSERT_TRUE(disk.open("a", true, file).ok());
  EXPECT_TRUE(file->write_at(3, "xyz").ok());
  EXPECT_TRUE(file->sync().ok());
  std::string bytes;
  EXPECT_TRUE(file->read_at(2, 100, bytes).ok());
  EXPECT_EQ(bytes, std::string("\0xyz", 4));
  EXPECT_EQ(file->size(), 6u);
  EXPECT_TRUE(disk.rename("a", "b").ok());
  EXPECT_TRUE(disk.sync_directory().ok());
  EXPECT_EQ(disk.list(), std::vector<std::string>{"b"});
  EXPECT_TRUE(disk.remove("b").ok());
  EXPECT_EQ(disk.remove("b").error, ENOENT);
}

// Takes every file descriptor that is left, until `release`.
class NoDescriptors {
 public:
  NoDescriptors() {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    rlimit few = before_;
    few.rlim_cur = 64;
    ::setrlimit(RLIMIT_NOFILE, &few);
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) taken_.push_back(fd);
  }
  ~NoDescriptors() { release(); }
  void release() {
    for (int fd : taken_) ::close(fd);
    taken_.clear();
    ::setrlimit(RLIMIT_NOFILE, &before_);
  }

 private:
  rlimit before_ = {};
  std::vector<int> taken_;
};

TEST_F(DirectoryTest, WithoutADescriptorADiskIsFullToWritersAndReadersWait) {
  PosixDisk disk(path_);
  std::unique_ptr<File> file;
  ASSERT_TRUE(disk.open("old", true, file).ok());
  file.reset();
  NoDescriptors none;
  DiskStatus status = disk.open("new", true, file);
  EXPECT_FALSE(status.ok());
  EXPECT_TRUE(status.is_full());
  std::thread later([&none] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    none.release();
  });
  EXPECT_EQ(disk.list(), std::vector<std::string>{"old"});
  later.join();
  EXPECT_TRUE(disk.open("old", false, file).ok());
  EXPECT_TRUE(disk.sync_directory().ok());
  EXPECT_TRUE(disk.open("new", true, file).ok());
}

}  // namespace
}  // namespace zabfs::consensus
