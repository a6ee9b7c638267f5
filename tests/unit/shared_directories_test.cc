#include "fsd/fuse/shared_directories.h"

#include <gtest/gtest.h>

namespace zabfs::fsd {
namespace {

using By = SharedDirectories::By;

SharedDirectories::Time at(int seconds) {
  return SharedDirectories::Time{std::chrono::seconds(seconds)};
}

TEST(SharedDirectories, AreThoseThatBothHaveChanged) {
  SharedDirectories directories;
  EXPECT_FALSE(directories.is_shared("/d", at(1)));
  directories.note_change("/d", By::kOthers, at(1));
  EXPECT_FALSE(directories.is_shared("/d", at(1)));
  directories.note_change("/e", By::kThisKernel, at(1));
  EXPECT_FALSE(directories.is_shared("/e", at(1)));
  directories.note_change("/d", By::kThisKernel, at(1));
  EXPECT_TRUE(directories.is_shared("/d", at(1)));
  EXPECT_FALSE(directories.is_shared("/e", at(1)));
}

TEST(SharedDirectories, AreSharedUntilOneOfThemHasChangedNothingForLong) {
  SharedDirectories directories;
  directories.note_change("/d", By::kOthers, at(0));
  directories.note_change("/d", By::kThisKernel, at(200));
  EXPECT_TRUE(directories.is_shared("/d", at(299)));
  EXPECT_FALSE(directories.is_shared("/d", at(300)));
  directories.note_change("/d", By::kOthers, at(400));
  EXPECT_TRUE(directories.is_shared("/d", at(499)));
  EXPECT_FALSE(directories.is_shared("/d", at(500)));
}

TEST(SharedDirectories, AreBoundedAndTheForgottenCountAsShared) {
  SharedDirectories directories;
  for (size_t i = 0; i <= SharedDirectories::kMax; ++i) {
    directories.note_change("/d" + std::to_string(i), By::kOthers, at(1));
  }
  EXPECT_TRUE(directories.is_shared("/d0", at(2)));
  EXPECT_FALSE(directories.is_shared("/d0", at(301)));
}

}  // namespace
}  // namespace zabfs::fsd
