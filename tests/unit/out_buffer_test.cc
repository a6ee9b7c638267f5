#include "fsd/wire/out_buffer.h"

#include <gtest/gtest.h>

#include <string>

namespace zabfs::fsd::wire {
namespace {

// In place of TLS: each byte becomes two.
void encode(std::string_view plain, std::string& records) {
  for (char byte : plain) records.append(2, byte);
}

TEST(OutBuffer, WhatTheSocketDidNotTakeComesNext) {
  OutBuffer out;
  out.plain() += "answer";
  EXPECT_EQ(out.next(), "answer");
  out.sent(2);
  out.tidy(0);
  EXPECT_EQ(out.next(), "swer");
  out.plain() += "s";
  EXPECT_EQ(out.next(), "swers");
  EXPECT_EQ(out.unsent(), 5u);
  out.sent(5);
  EXPECT_TRUE(out.next().empty());
}

TEST(OutBuffer, WithTlsRecordsAreSentAndNoPlainByte) {
  OutBuffer out(true);
  out.plain() += "ab";
  EXPECT_TRUE(out.next().empty());
  EXPECT_EQ(out.unsent(), 2u);
  out.seal(encode);
  EXPECT_EQ(out.next(), "aabb");
  EXPECT_EQ(out.unsent(), 4u);
  out.sent(1);
  out.plain() += "c";
  out.seal(encode);
  EXPECT_EQ(out.next(), "abbcc");
}

TEST(OutBuffer, TlsSpeaksWithoutPlainBytes) {
  OutBuffer out(true);
  out.seal([](std::string_view, std::string& records) { records += "handshake"; });
  EXPECT_EQ(out.next(), "handshake");
}

// A long answer that goes in small pieces would else be moved with each of them.
TEST(OutBuffer, TheRestIsMovedToTheFrontOnceHalfIsSent) {
  OutBuffer out;
  out.plain() = std::string(1'000, 'x');
  const char* place = out.next().data();
  out.sent(499);
  out.tidy(0);
  EXPECT_EQ(out.next().data(), place + 499);
  out.sent(1);
  out.tidy(0);
  EXPECT_EQ(out.next().data(), place);
  EXPECT_EQ(out.next().size(), 500u);
}

TEST(OutBuffer, AnEmptyBufferKeepsLittleMemory) {
  for (bool is_sealed : {false, true}) {
    OutBuffer out(is_sealed);
    out.plain() = std::string(100'000, 'x');
    if (is_sealed) out.seal(encode);
    out.sent(out.next().size());
    out.tidy(300'000);
    EXPECT_GE(out.held_bytes(), 100'000u);
    out.tidy(1'000);
    EXPECT_LE(out.held_bytes(), 2'000u);
    EXPECT_EQ(out.unsent(), 0u);
  }
}

}  // namespace
}  // namespace zabfs::fsd::wire
