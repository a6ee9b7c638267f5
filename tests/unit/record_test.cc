// The stream between zabfs and zabfsd: what is encoded comes back, and what is malformed does not.
#include "fsd/transfer/record.h"

#include <gtest/gtest.h>

namespace zabfs::transfer {
namespace {

constexpr size_t kMaxData = 1'000;

Entry file(std::string path, std::string data = "data") {
  Entry entry;
  entry.path = std::move(path);
  entry.mode = 04755;
  entry.uid = 1'000;
  entry.gid = 2'000;
  entry.mtime = {1'700'000'000, 999'999'999};
  entry.data = std::move(data);
  return entry;
}

std::vector<Record> whole() {
  Header header{tree::Zxid::make(3, 7), 1'700'000'000'123, 4'711, true, false};
  Entry directory;
  directory.path = "a b";
  directory.kind = Kind::kDirectory;
  directory.mode = 02775;
  directory.is_container = true;
  directory.acl = {{31, {"sasl", "app@REALM"}}, {1, {"world", "anyone"}}};
  directory.data = std::string("own\0data", 8);
  Entry plain = file("a b/é", "");
  plain.is_plain = true;
  plain.ttl_ms = 5'000;
  plain.acl = tree::open_acl();
  Entry link = file("a b/link", "../target");
  link.kind = Kind::kSymlink;
  LeftOut left_out{"a b/secret", Reason::kNoAccess};
  End end{3, 17};
  return {header, directory, plain, link, left_out, end};
}

std::string encoded(const std::vector<Record>& records) {
  std::string bytes;
  for (const Record& record : records) encode(record, bytes);
  return bytes;
}

// Why the stream is bad; empty if it is not.
std::string why_bad(std::string_view bytes) {
  Decoder decoder(kMaxData);
  decoder.feed(bytes);
  while (decoder.next()) {
  }
  return decoder.status().why();
}

std::string why_bad(const Entry& entry) {
  return why_bad(encoded({Header{}, entry, End{1, static_cast<int64_t>(entry.data.size())}}));
}

TEST(Records, ComeBackFromPiecesOfAnySize) {
  std::vector<Record> records = whole();
  std::string bytes = encoded(records);
  for (size_t piece = 1; piece <= bytes.size(); piece += piece / 2 + 1) {
    Decoder decoder(kMaxData);
    std::vector<Record> found;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      decoder.feed(std::string_view(bytes).substr(at, piece));
      while (std::optional<Record> record = decoder.next()) found.push_back(std::move(*record));
    }
    EXPECT_TRUE(found == records) << piece;
    EXPECT_TRUE(decoder.has_ended());
    EXPECT_TRUE(decoder.status().ok());
    EXPECT_EQ(decoder.buffered(), 0u);
  }
}

TEST(Records, AHeadAndItsDataAreAnEntry) {
  Entry entry = file("f");
  std::string bytes, parts;
  encode(entry, bytes);
  encode_head(entry, entry.data.size(), parts);
  EXPECT_EQ(parts + entry.data, bytes);
}

TEST(Records, AStreamThatWasCutOffHasNotEnded) {
  std::string bytes = encoded(whole());
  for (size_t size = 0; size < bytes.size(); ++size) {
    Decoder decoder(kMaxData);
    decoder.feed(std::string_view(bytes).substr(0, size));
    while (decoder.next()) {
    }
    EXPECT_FALSE(decoder.has_ended()) << size;
  }
  // A record is missing.
  EXPECT_NE(why_bad(encoded({Header{}, End{1, 0}})), "");
}

TEST(Records, OtherStreamsAreRefused) {
  EXPECT_NE(why_bad("some text that is no stream"), "");
  EXPECT_NE(why_bad(encoded({file("f")})), "");
  EXPECT_NE(why_bad(encoded({Header{}, Header{}})), "");
  EXPECT_NE(why_bad(encoded({Header{}, End{}}) + "x"), "");
  EXPECT_NE(why_bad(encoded({Header{}}) + std::string("\0\0\0\1\x09", 5)), "");
  std::string too_long = encoded({Header{}}) + std::string("\x7f\xff\xff\xff", 4);
  EXPECT_NE(why_bad(too_long), "");
  EXPECT_EQ(why_bad(encoded(whole())), "");
}

TEST(Records, PathsDoNotLeadOut) {
  for (const char* path : {"/etc/passwd", "../x", "a/../b", "a/..", ".", "a//b", "a/", "@", "a/@/b",
                           "a\nb", "\xff", "a/\xf0\x9f\x98\x80"}) {
    EXPECT_FALSE(check_path(path).ok()) << path;
    EXPECT_NE(why_bad(file(path)), "") << path;
  }
  for (const char* path : {"a", "a b/c\"d'", "é/ü", "...", "@x", "x@"}) {
    EXPECT_TRUE(check_path(path).ok()) << path;
    EXPECT_EQ(why_bad(file(path)), "") << path;
  }
  EXPECT_TRUE(check_path(std::string(255, 'n')).ok());
  EXPECT_FALSE(check_path(std::string(256, 'n')).ok());
  std::string deep = "d";
  while (deep.size() + 2 <= tree::kMaxPathBytes) deep += "/d";
  EXPECT_TRUE(check_path(deep).ok());
  EXPECT_FALSE(check_path(deep + "/d").ok());
}

TEST(Records, EntriesAreChecked) {
  auto bad = [](auto change) {
    Entry entry = file("f");
    change(entry);
    return !check(entry).ok() && !why_bad(entry).empty();
  };
  EXPECT_TRUE(bad([](Entry& e) { e.mode = 010000; }));
  EXPECT_TRUE(bad([](Entry& e) { e.uid = tree::kNoId; }));
  EXPECT_TRUE(bad([](Entry& e) { e.mtime.nanoseconds = 1'000'000'000; }));
  EXPECT_TRUE(bad([](Entry& e) { e.ttl_ms = -1; }));
  EXPECT_TRUE(bad([](Entry& e) { e.kind = Kind::kSocket; }));
  EXPECT_TRUE(bad([](Entry& e) { e.part = Part::kOwnData; }));
  EXPECT_TRUE(bad([](Entry& e) { e.path = ""; }));
  EXPECT_TRUE(bad([](Entry& e) { e.is_plain = true; }));
  EXPECT_TRUE(bad([](Entry& e) { e.acl = {{0, {"digest", "zabfs-posix,f,644,0,0:x"}}}; }));
  EXPECT_TRUE(bad([](Entry& e) { e.acl.assign(kMaxAclEntries + 1, {1, {"world", "anyone"}}); }));
  EXPECT_TRUE(bad([](Entry& e) { e.kind = Kind::kSymlink, e.data = std::string("a\0b", 3); }));
  EXPECT_TRUE(bad([](Entry& e) { e.kind = Kind::kSymlink, e.data = ""; }));
  EXPECT_FALSE(bad([](Entry&) {}));
  // The reader says how much it takes.
  EXPECT_NE(why_bad(file("f", std::string(kMaxData + kMaxHeadBytes, 'x'))), "");
  EXPECT_EQ(why_bad(file("f", std::string(kMaxData, 'x'))), "");
}

TEST(Records, AclsAreLinesOfAnyScheme) {
  tree::AclList acl{
      {31, {"sasl", "a:b@C"}}, {0, {"x509", "CN=50%\nO=x"}}, {5, {"world", "anyone"}}};
  EXPECT_EQ(acl_lines(acl), "sasl:a:b@C:cdrwa\nx509:CN=50%25%0AO=x:\nworld:anyone:cr\n");
  EXPECT_EQ(parse_acl_lines(acl_lines(acl)), acl);
  EXPECT_EQ(parse_acl_lines(""), tree::AclList());
  for (const char* text : {"x", "a:b", ":a:r", "a:b:z", "a:%:r", "a:%41:r", "\n"}) {
    EXPECT_EQ(parse_acl_lines(text), std::nullopt) << text;
  }
}

TEST(Records, NamesArePrintedWithoutControlCharacters) {
  EXPECT_EQ(printable("a b/é.txt"), "a b/é.txt");
  EXPECT_EQ(printable("a\n\x1b[31m\xff"), "a\\x0a\\x1b[31m\\xff");
}

}  // namespace
}  // namespace zabfs::transfer
