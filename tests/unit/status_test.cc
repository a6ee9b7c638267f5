#include "tree/status.h"

#include <gtest/gtest.h>

#include <memory>

namespace zabfs {
namespace {

TEST(Statuses, ASuccessHasNoReason) {
  EXPECT_TRUE(Status().ok());
  EXPECT_EQ(Status().why(), "");
  EXPECT_FALSE(Status::failed("no room").ok());
  EXPECT_EQ(Status::failed("no room").why(), "no room");
}

StatusOr<std::unique_ptr<int>> half(int number) {
  if (number % 2 != 0) return Status::failed("it is odd");
  return std::make_unique<int>(number / 2);
}

TEST(Statuses, AValueIsThereOrTheReasonWhyNot) {
  StatusOr<std::unique_ptr<int>> three = half(6), none = half(7);
  ASSERT_TRUE(three.ok());
  EXPECT_EQ(**three, 3);
  EXPECT_EQ(*three->get(), 3);
  EXPECT_TRUE(three.status().ok());
  EXPECT_FALSE(none.ok());
  EXPECT_EQ(none.why(), "it is odd");
  EXPECT_EQ(none.status().why(), "it is odd");
}

}  // namespace
}  // namespace zabfs
