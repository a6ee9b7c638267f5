#include "fsd/wire/in_buffer.h"

#include <gtest/gtest.h>

#include <string>

#include "tree/jute.h"

namespace zabfs::fsd::wire {
namespace {

std::string frame(std::string_view record) {
  std::string bytes;
  tree::jute::Writer(bytes).i32(static_cast<int32_t>(record.size()));
  return bytes += record;
}

TEST(InBuffer, AFrameIsTakenOnceItIsThereAsAWhole) {
  InBuffer in;
  std::string bytes = frame("record");
  for (char byte : bytes) {
    EXPECT_FALSE(in.take());
    in.append(std::string_view(&byte, 1));
  }
  std::optional<InBuffer::Frame> taken = in.take();
  ASSERT_TRUE(taken);
  EXPECT_EQ(taken->record, "record");
  EXPECT_FALSE(in.take());
}

TEST(InBuffer, ALengthIsKnownBeforeTheFrameIsThere) {
  InBuffer in;
  in.append(frame(std::string(1'000, 'x')).substr(0, 3));
  EXPECT_FALSE(in.next_length());
  in.append(frame(std::string(1'000, 'x')).substr(3, 1));
  EXPECT_EQ(in.next_length(), 1'000);
}

TEST(InBuffer, AFrameOfNegativeLengthIsNeverTaken) {
  InBuffer in;
  in.append("\xff\xff\xff\xff and more");
  EXPECT_EQ(in.next_length(), -1);
  EXPECT_FALSE(in.take());
}

TEST(InBuffer, WhatIsPutBackIsTakenAgainWithAllBehindIt) {
  InBuffer in;
  in.append(frame("first") + frame("second") + frame("third"));
  in.take();
  std::optional<InBuffer::Frame> second = in.take();
  in.take();
  in.put_back(second->begin);
  EXPECT_EQ(in.take()->record, "second");
  EXPECT_EQ(in.take()->record, "third");
}

TEST(InBuffer, WhatWasTakenIsDiscardedAndTheRestStays) {
  InBuffer in;
  in.append(frame("first") + frame("second"));
  in.take();
  in.discard_taken(0);
  EXPECT_EQ(in.left(), frame("second"));
  EXPECT_EQ(in.take()->record, "second");
}

TEST(InBuffer, AnEmptyBufferKeepsLittleMemory) {
  InBuffer in;
  in.append(frame(std::string(100'000, 'x')));
  in.take();
  in.discard_taken(200'000);
  EXPECT_GE(in.held_bytes(), 100'000u);
  in.discard_taken(1'000);
  EXPECT_LE(in.held_bytes(), 1'000u);
}

}  // namespace
}  // namespace zabfs::fsd::wire
