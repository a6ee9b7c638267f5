// zabfs log: what was changed, newest first.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <vector>

#include "fsd/history/when.h"
#include "fsd/tool/maker.h"
#include "fsd/tool/past.h"
#include "fsd/tool/tool.h"
#include "tree/path.h"

namespace zabfs::tool {

namespace fs = std::filesystem;

namespace {

struct Line {
  std::string zxid, time, what;
  Maker maker;
  std::string mode, uid, gid, size, path;  // of a gap: the reason
  bool is_gap() const { return what == "gap"; }
};

std::string shown(const Line& line) {
  if (line.what == "removed") return fmt::format("{:<8} {:>25}", line.what, "-");
  return fmt::format("{:<8} {} {:>5}:{:<5} {:>8}", line.what, line.mode, line.uid, line.gid,
                     line.size);
}

class Since {
 public:
  explicit Since(const fsd::When& when) : when_(when) {}
  bool admits(const Line& line) const {
    if (when_.zxid) return std::strtoll(line.zxid.c_str(), nullptr, 16) >= when_.zxid->value;
    std::optional<fsd::When> time = fsd::parse_when(line.time, 0);
    return line.is_gap() || !time || time->time_ms >= when_.time_ms;
  }

 private:
  fsd::When when_;
};

// Of `@/changes`.
std::vector<Line> lines_of(const std::string& text, std::string& since) {
  std::vector<Line> all;
  std::istringstream in(text);
  std::string row;
  std::getline(in, since);
  while (std::getline(in, row)) {
    std::istringstream fields(row);
    Line line;
    fields >> line.zxid >> line.time;
    if (line.time == "gap") {
      line.what = line.time;
    } else {
      fields >> line.what;
      line.maker = read_maker(fields);
      fields >> line.mode >> line.uid >> line.gid >> line.size;
    }
    std::getline(fields >> std::ws, line.path);
    all.push_back(std::move(line));
  }
  return all;
}

void print_gap(const Line& line) {
  fmt::print("{}  *** something is missing here: {}\n", line.zxid, line.path);
}

// `only`: a path below the directory, of something that may be gone; empty: all.
int log_directory(const std::string& directory, const std::string& only, const Since& since,
                  bool with_diffs) {
  std::string source = join(directory, "@/changes"), begin;
  std::optional<std::string> text = read_file(source);
  if (!text) return fail(error_of(source));
  std::vector<Line> lines = lines_of(*text, begin);
  std::erase_if(lines, [&](const Line& line) {
    return !line.is_gap() && !only.empty() && !tree::is_within(line.path, only);
  });
  auto last = lines.rbegin();
  while (last != lines.rend()) {
    // The lines of one change are beside each other.
    auto end = std::find_if(last, lines.rend(), [&](const Line& line) {
      return line.zxid != last->zxid || line.is_gap() != last->is_gap();
    });
    std::vector<Line> change(last, end);
    std::reverse(change.begin(), change.end());
    last = end;
    if (!since.admits(change[0])) continue;
    if (change[0].is_gap()) {
      print_gap(change[0]);
      continue;
    }
    fmt::print("{}  {}  {}\n", change[0].zxid, change[0].time, text_of(change[0].maker));
    for (const Line& line : change) fmt::print("    {}  {}\n", shown(line), line.path);
    for (const Line& line : change) {
      if (!with_diffs) break;
      std::string path = join(directory, line.path);
      if (std::optional<Versions> versions = versions_of(path)) {
        print_diff(path, *versions, line.zxid);
      }
    }
  }
  constexpr std::string_view kSince = "since ";
  if (begin.starts_with(kSince)) begin = begin.substr(kSince.size());
  fmt::print("the log of this node goes back to {}\n", begin);
  return 0;
}

std::string mode_text(const struct stat& st) { return fmt::format("{:04o}", st.st_mode & 07777); }

// Of a version, by its attributes.
Line line_of(const std::string& file, const std::string& name) {
  Line line;
  struct stat st = {};
  ::lstat(file.c_str(), &st);
  line.zxid = name.substr(0, name.find('.'));
  // A directory's are those of a link.
  line.what = attribute(file, "what");
  if (line.what.empty()) line.what = name.ends_with(".gone") ? "removed" : "-";
  line.time = fsd::time_text(int64_t{st.st_mtim.tv_sec} * 1'000 + st.st_mtim.tv_nsec / 1'000'000);
  line.maker = maker_of(file);
  line.mode = mode_text(st);
  line.uid = std::to_string(st.st_uid);
  line.gid = std::to_string(st.st_gid);
  line.size = std::to_string(st.st_size);
  return line;
}

int log_file(const std::string& path, const Since& since, bool with_diffs) {
  std::optional<Versions> versions = versions_of(path);
  if (!versions) {
    return fail(fmt::format("{}: there is none, and the log of this node knows of none", path));
  }
  for (auto name = versions->names.rbegin(); name != versions->names.rend(); ++name) {
    Line line = line_of(join(versions->directory, *name), *name);
    if (!since.admits(line)) continue;
    fmt::print("{}  {}  {}  {}\n", line.zxid, line.time, shown(line), text_of(line.maker));
    if (with_diffs) print_diff(path, *versions, line.zxid);
  }
  return 0;
}

}  // namespace

int log(const LogOptions& options) {
  fsd::When when;
  if (!options.since.empty()) {
    std::optional<fsd::When> parsed = fsd::parse_when(options.since, fsd::wall_ms());
    if (!parsed) {
      return fail(fmt::format("--since {}: neither a zxid nor a time, as 2026-11-30T04:15 or -2h",
                              options.since),
                  kUsage);
    }
    when = *parsed;
  } else {
    when.time_ms = INT64_MIN;
  }
  std::optional<Anchored> place = anchor(options.path);
  if (!place) return kUsage;
  barrier(place->directory);  // without a quorum it tells what this node knows
  bool is_file = !place->below.empty() && place->below.find('/') == std::string::npos;
  if (!is_file) {  // a directory, or something in one that is gone
    return log_directory(place->directory, place->below, Since(when), options.with_diffs);
  }
  return log_file(join(place->directory, place->below), Since(when), options.with_diffs);
}

}  // namespace zabfs::tool
