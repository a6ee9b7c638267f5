#include "fsd/backup/format.h"

#include <fmt/format.h>

#include <charconv>

namespace zabfs::backup {
namespace {

// A number of the whole text; false if it is none.
template <class T>
bool read_number(std::string_view text, T& value, int base = 10) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return error == std::errc() && end == text.data() + text.size();
}

// A line without what a terminal would take for more than text.
std::string quoted(std::string_view line) {
  std::string text(line.substr(0, 80));
  for (char& c : text) {
    if (c < ' ' || c > '~') c = '?';
  }
  return '"' + text + '"';
}

// Calls `take(name, value)` for each line; a failure is of the first for which it gives false.
template <class Take>
Status for_each_line(std::string_view text, const Take& take) {
  for (size_t lines = 0; !text.empty(); ++lines) {
    size_t end = text.find('\n');
    if (lines == kMaxLines || end == std::string_view::npos) {
      return Status::failed("there are too many lines, or a cut one");
    }
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end + 1);
    size_t space = line.find(' ');
    bool has_value = space != std::string_view::npos;
    if (!has_value || !take(line.substr(0, space), line.substr(space + 1))) {
      return Status::failed(fmt::format("the line {} is wrong", quoted(line)));
    }
  }
  return {};
}

bool is_printable(std::string_view text) {
  for (char c : text) {
    if (c < ' ' || c > '~') return false;
  }
  return true;
}

bool take_zxid(std::string_view value, tree::Zxid& zxid) {
  return value.starts_with("0x") && read_number(value.substr(2), zxid.value, 16) && zxid.value > 0;
}

}  // namespace

std::string header_text(const Header& header) {
  std::string text =
      fmt::format("{}zxid 0x{:x}\ntime-ms {}\nnode {}\nepoch {}\nserving {}\nversion {}\n",
                  kFirstLine, header.zxid.value, header.time_ms, header.node, header.epoch,
                  header.is_serving ? "yes" : "no", header.version);
  for (const std::string& member : header.members) text += fmt::format("member {}\n", member);
  return text + "\n";
}

StatusOr<Header> parse_header(std::string_view text) {
  Header header;
  Status status = for_each_line(text, [&](std::string_view name, std::string_view value) {
    if (!is_printable(value)) return false;
    if (name == "zxid") return take_zxid(value, header.zxid);
    if (name == "time-ms") return read_number(value, header.time_ms);
    if (name == "node") return read_number(value, header.node);
    if (name == "epoch") return read_number(value, header.epoch);
    if (name == "version") header.version = value;
    if (name == "member") header.members.emplace_back(value);
    if (name == "serving") header.is_serving = value == "yes";
    return true;
  });
  if (!status.ok()) return status;
  if (header.zxid == tree::Zxid{}) return Status::failed("there is no line with its zxid");
  return header;
}

std::string trailer_text(const Counts& counts) {
  return fmt::format(
      "znodes {}\ndata-bytes {}\ndigest {}\nsessions-left-out {}\nephemerals-left-out {}\n{}",
      counts.znodes, counts.data_bytes, counts.digest, counts.sessions, counts.ephemerals,
      kLastLine);
}

StatusOr<Counts> parse_trailer(std::string_view text) {
  Counts counts;
  int of_tree = 0;  // of the lines that the tree is compared with
  Status status = for_each_line(text, [&](std::string_view name, std::string_view value) {
    of_tree += name == "znodes" || name == "data-bytes" || name == "digest";
    if (name == "znodes") return read_number(value, counts.znodes);
    if (name == "data-bytes") return read_number(value, counts.data_bytes);
    if (name == "digest") return read_number(value, counts.digest);
    if (name == "sessions-left-out") return read_number(value, counts.sessions);
    if (name == "ephemerals-left-out") return read_number(value, counts.ephemerals);
    return true;
  });
  if (!status.ok()) return status;
  if (of_tree != 3) return Status::failed("the lines that describe the tree are not all there");
  return counts;
}

std::string length_bytes(size_t length) {
  std::string bytes;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    bytes.push_back(static_cast<char>(length >> (8 * i) & 0xff));
  }
  return bytes;
}

uint32_t length_at(std::string_view bytes) {
  uint32_t length = 0;
  for (size_t i = kLengthBytes; i > 0; --i) {
    length = length << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return length;
}

}  // namespace zabfs::backup
