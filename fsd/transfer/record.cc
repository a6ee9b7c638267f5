#include "fsd/transfer/record.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "tree/jute.h"
#include "tree/path.h"
#include "tree/znode.h"

namespace zabfs::transfer {

namespace {

constexpr std::string_view kMagic = "zabfs-tree";
constexpr int32_t kFormat = 1;
constexpr uint8_t kHeaderType = 1, kEntryType = 2, kLeftOutType = 3, kEndType = 4;
constexpr uint8_t kRemovesOthers = 1, kDryRun = 2;
constexpr uint8_t kPlain = 1, kContainer = 2;
constexpr size_t kMinBytes = 1;
constexpr std::string_view kHidden = "@";
constexpr std::string_view kLetters = "cdrwa";
constexpr int32_t kPerms[] = {tree::kPermCreate, tree::kPermDelete, tree::kPermRead,
                              tree::kPermWrite, tree::kPermAdmin};

// Writes a record's body, then its length before it.
template <class Write>
void framed(std::string& out, size_t more, const Write& write) {
  size_t start = out.size();
  tree::jute::Writer(out).i32(0);
  write(tree::jute::Writer(out));
  std::string length;
  tree::jute::Writer(length).count(out.size() - start - sizeof(int32_t) + more);
  out.replace(start, length.size(), length);
}

std::optional<Record> read_header(tree::jute::Reader& in) {
  if (in.string() != kMagic || in.i32() != kFormat) return std::nullopt;
  Header header;
  header.zxid.value = in.i64();
  header.time_ms = in.i64();
  header.bytes = in.i64();
  uint8_t flags = in.byte();
  header.removes_others = (flags & kRemovesOthers) != 0;
  header.is_dry_run = (flags & kDryRun) != 0;
  if ((flags & ~(kRemovesOthers | kDryRun)) != 0) return std::nullopt;
  return header;
}

std::optional<Record> read_entry(tree::jute::Reader& in) {
  Entry entry;
  entry.path = in.string();
  uint8_t kind = in.byte(), part = in.byte();
  if (kind > static_cast<uint8_t>(Kind::kSocket)) return std::nullopt;
  if (part > static_cast<uint8_t>(Part::kOwnData)) return std::nullopt;
  entry.kind = static_cast<Kind>(kind);
  entry.part = static_cast<Part>(part);
  entry.mode = static_cast<uint32_t>(in.i32());
  entry.uid = static_cast<uint32_t>(in.i32());
  entry.gid = static_cast<uint32_t>(in.i32());
  uint8_t flags = in.byte();
  if ((flags & ~(kPlain | kContainer)) != 0) return std::nullopt;
  entry.is_plain = (flags & kPlain) != 0;
  entry.is_container = (flags & kContainer) != 0;
  entry.mtime.seconds = in.i64();
  entry.mtime.nanoseconds = in.i32();
  entry.ttl_ms = in.i64();
  entry.acl = tree::read_acl(in);
  entry.data = in.string();
  return entry;
}

}  // namespace

std::string printable(std::string_view name) {
  std::string text;
  for (size_t i = 0; i < name.size(); ++i) {
    auto byte = static_cast<uint8_t>(name[i]);
    // As ZooKeeper's rules have it: a character is allowed as a whole or not at all.
    size_t length = 1;
    while (i + length < name.size() && (static_cast<uint8_t>(name[i + length]) & 0xc0) == 0x80) {
      ++length;
    }
    std::string_view character = name.substr(i, byte < 0x80 ? 1 : length);
    if (byte == '/' || tree::is_valid_name(character) || character == ".") {
      text += character;
      i += character.size() - 1;
    } else {
      text += fmt::format("\\x{:02x}", byte);
    }
  }
  return text;
}

Status check_path(std::string_view path) {
  if (path.empty()) return {};
  auto refused = [path](const char* why) {
    return Status::failed(fmt::format("{}: {}", printable(path.substr(0, 300)), why));
  };
  if (path.size() > tree::kMaxPathBytes) return refused("the path is longer than 4,095 bytes");
  if (path.front() == '/') return refused("the path must be relative");
  while (true) {
    size_t end = path.find('/');
    std::string_view name = path.substr(0, end);
    if (name.empty()) return refused("the path has an empty name");
    if (name == "." || name == "..") return refused("the path leads out of the directory");
    if (name == kHidden) return refused("a file can't have the name @");
    if (name.size() > tree::kMaxNameBytes) return refused("the name is longer than 255 bytes");
    if (!tree::is_valid_name(name)) {
      return refused("the name has characters that ZooKeeper does not allow in names");
    }
    if (end == std::string_view::npos) return {};
    path.remove_prefix(end + 1);
    if (path.empty()) return refused("the path has an empty name");
  }
}

Status check(const Entry& entry) {
  Status status = check_path(entry.path);
  if (!status.ok()) return status;
  auto refused = [&entry](const char* why) {
    return Status::failed(fmt::format("{}: {}", printable(entry.path), why));
  };
  bool is_directory = entry.kind == Kind::kDirectory;
  if (!is_directory && (entry.path.empty() || entry.part != Part::kWhole)) {
    return refused("is no directory");
  }
  if (entry.kind == Kind::kSocket) return refused("a socket can't be copied");
  if ((entry.mode & ~tree::kModeBits) != 0) return refused("the mode is malformed");
  if (entry.uid == tree::kNoId || entry.gid == tree::kNoId) return refused("the owner is nobody");
  if (entry.mtime.nanoseconds < 0 || entry.mtime.nanoseconds > 999'999'999) {
    return refused("the time is malformed");
  }
  if (entry.ttl_ms < 0 || entry.ttl_ms > tree::kMaxTtlMs ||
      (entry.ttl_ms > 0 && entry.is_container))
    return refused("the time to live is malformed");
  bool is_long = entry.acl.size() > kMaxAclEntries || acl_lines(entry.acl).size() > kMaxAclBytes;
  if (is_long) return refused("the ACL is too long");
  if (entry.is_plain && entry.acl.empty()) return refused("there is no ACL");
  if (tree::find_posix(entry.acl)) return refused("the ACL names an owner of its own");
  bool is_target = entry.kind == Kind::kSymlink;
  if (is_target && (entry.data.empty() || entry.data.size() > tree::kMaxTargetBytes ||
                    entry.data.find('\0') != std::string::npos)) {
    return refused("the symlink's target is empty, too long or no text");
  }
  if (entry.kind == Kind::kFifo && !entry.data.empty()) return refused("a FIFO has no data");
  return {};
}

void encode_head(const Entry& entry, size_t data_bytes, std::string& out) {
  framed(out, data_bytes, [&](tree::jute::Writer to) {
    to.byte(kEntryType);
    to.string(entry.path);
    to.byte(static_cast<uint8_t>(entry.kind));
    to.byte(static_cast<uint8_t>(entry.part));
    to.i32(static_cast<int32_t>(entry.mode));
    to.i32(static_cast<int32_t>(entry.uid));
    to.i32(static_cast<int32_t>(entry.gid));
    to.byte(static_cast<uint8_t>((entry.is_plain ? kPlain : 0) |
                                 (entry.is_container ? kContainer : 0)));
    to.i64(entry.mtime.seconds);
    to.i32(entry.mtime.nanoseconds);
    to.i64(entry.ttl_ms);
    tree::write_acl(to, entry.acl);
    to.count(data_bytes);
  });
}

void encode(const Record& record, std::string& out) {
  if (const Entry* entry = std::get_if<Entry>(&record)) {
    encode_head(*entry, entry->data.size(), out);
    out += entry->data;
    return;
  }
  framed(out, 0, [&](tree::jute::Writer to) {
    if (const Header* header = std::get_if<Header>(&record)) {
      to.byte(kHeaderType);
      to.string(kMagic);
      to.i32(kFormat);
      to.i64(header->zxid.value);
      to.i64(header->time_ms);
      to.i64(header->bytes);
      to.byte(static_cast<uint8_t>((header->removes_others ? kRemovesOthers : 0) |
                                   (header->is_dry_run ? kDryRun : 0)));
    } else if (const LeftOut* left_out = std::get_if<LeftOut>(&record)) {
      to.byte(kLeftOutType);
      to.string(left_out->path);
      to.byte(static_cast<uint8_t>(left_out->why));
    } else if (const End* end = std::get_if<End>(&record)) {
      to.byte(kEndType);
      to.i64(end->entries);
      to.i64(end->bytes);
    }
  });
}

std::string acl_lines(const tree::AclList& acl) {
  std::string text;
  for (const tree::Acl& entry : acl) {
    text += entry.who.scheme + ":";
    for (char letter : entry.who.id) {
      if (letter == '%') {
        text += "%25";
      } else if (letter == '\n') {
        text += "%0A";
      } else {
        text += letter;
      }
    }
    text += ':';
    for (size_t i = 0; i < kLetters.size(); ++i) {
      if ((entry.perms & kPerms[i]) != 0) text += kLetters[i];
    }
    text += '\n';
  }
  return text;
}

std::optional<tree::AclList> parse_acl_lines(std::string_view text) {
  tree::AclList acl;
  if (text.size() > kMaxAclBytes) return std::nullopt;
  while (!text.empty()) {
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    size_t first = line.find(':'), last = line.rfind(':');
    if (first == 0 || first == std::string_view::npos || last == first) return std::nullopt;
    tree::Acl entry;
    entry.who.scheme = line.substr(0, first);
    for (char letter : line.substr(last + 1)) {
      size_t bit = kLetters.find(letter);
      if (bit == std::string_view::npos) return std::nullopt;
      entry.perms |= kPerms[bit];
    }
    std::string_view id = line.substr(first + 1, last - first - 1);
    for (size_t i = 0; i < id.size(); ++i) {
      if (id[i] != '%') {
        entry.who.id += id[i];
      } else if (id.substr(i, 3) == "%25" || id.substr(i, 3) == "%0A") {
        entry.who.id += id[i + 1] == '2' ? '%' : '\n';
        i += 2;
      } else {
        return std::nullopt;
      }
    }
    acl.push_back(std::move(entry));
    if (acl.size() > kMaxAclEntries) return std::nullopt;
  }
  return acl;
}

// ---- the decoder

void Decoder::feed(std::string_view bytes) {
  if (!status_.ok()) return;
  if (at_ > 0 && at_ >= buffer_.size() / 2) {
    buffer_.erase(0, at_);
    at_ = 0;
  }
  buffer_ += bytes;
}

std::optional<Record> Decoder::refuse(std::string why) {
  status_ = Status::failed(std::move(why));
  buffer_.clear();
  at_ = 0;
  return std::nullopt;
}

std::optional<Record> Decoder::next() {
  if (!status_.ok()) return std::nullopt;
  std::string_view rest = std::string_view(buffer_).substr(at_);
  if (state_ == State::kEnded && !rest.empty()) return refuse("the stream goes on behind its end");
  if (rest.size() < sizeof(int32_t)) return std::nullopt;
  int32_t length = tree::jute::Reader(rest).i32();
  bool fits =
      length >= static_cast<int32_t>(kMinBytes) && static_cast<size_t>(length) <= max_bytes_;
  if (!fits && state_ == State::kBegins) return refuse("this is no stream of a subtree");
  if (!fits)
    return refuse(fmt::format("a record has {} bytes, at most {} may be", length, max_bytes_));
  auto size = static_cast<size_t>(length);
  rest.remove_prefix(sizeof(int32_t));
  if (rest.size() < size) return std::nullopt;
  std::optional<Record> record = take(rest.substr(0, size));
  if (record) at_ += sizeof(int32_t) + size;
  return record;
}

std::optional<Record> Decoder::take(std::string_view body) {
  tree::jute::Reader in(body);
  uint8_t type = in.byte();
  std::optional<Record> record;
  if (type == kHeaderType) record = read_header(in);
  if (type == kEntryType) record = read_entry(in);
  if (type == kLeftOutType) {
    LeftOut left_out;
    left_out.path = in.string();
    uint8_t why = in.byte();
    left_out.why = static_cast<Reason>(why);
    if (why <= static_cast<uint8_t>(Reason::kLongName)) record = left_out;
  }
  if (type == kEndType) {
    End end;
    end.entries = in.i64();
    end.bytes = in.i64();
    record = end;
  }
  bool is_header = record && std::holds_alternative<Header>(*record);
  if ((state_ == State::kBegins) != is_header || !record || !in.done()) {
    bool begins = state_ == State::kBegins;
    return refuse(begins ? "this is no stream of a subtree" : "a record is malformed");
  }
  if (is_header) state_ = State::kGoesOn;
  if (const Entry* entry = std::get_if<Entry>(&*record)) {
    if (Status status = check(*entry); !status.ok()) return refuse(status.why());
    counted_.entries += 1;
    counted_.bytes += static_cast<int64_t>(entry->data.size());
  } else if (const LeftOut* left_out = std::get_if<LeftOut>(&*record)) {
    if (Status status = check_path(left_out->path); !status.ok()) return refuse(status.why());
  } else if (const End* end = std::get_if<End>(&*record)) {
    if (*end != counted_) return refuse("the stream does not have as much as its end says");
    state_ = State::kEnded;
  }
  return record;
}

}  // namespace zabfs::transfer
