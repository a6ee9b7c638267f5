// zabfs log: what was changed, newest first.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <sstream>
#include <utility>
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
  std::string from;                        // of a move, whose other end is `path`
  bool is_gap() const { return what == "gap"; }
  bool is_move() const { return what == "moved"; }
  int64_t number() const { return std::strtoll(zxid.c_str(), nullptr, 16); }
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
    if (when_.zxid) return line.number() >= when_.zxid->value;
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
    if (line.time == "gap" || line.time == "moved") {
      line.what = line.time;
      if (line.is_move()) std::getline(fields >> std::ws, line.from, '\t');
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

// What a path is called that is seen from a directory.
std::string place_of(const std::string& directory, const std::string& path) {
  return fs::path(join(directory, path)).lexically_normal().string();
}

class Log {
 public:
  Log(const LogOptions& options, const fsd::When& since) : options_(options), since_(since) {}

  int print(const std::string& path) {
    std::optional<Anchored> place = anchor(path);
    if (!place) return kUsage;
    barrier(place->directory);  // without a quorum it tells what this node knows
    is_directory_ = place->below.empty();
    bool is_file = !is_directory_ && place->below.find('/') == std::string::npos;
    // The rest is a directory, or something in one that is gone.
    int code = is_file ? print_file(join(place->directory, place->below))
                       : print_directory(place->directory, place->below);
    while (code == 0 && !next_.empty()) code = follow(std::exchange(next_, {}));
    if (code == 0 && !goes_back_to_.empty()) {
      fmt::print("the log of this node goes back to {}\n", goes_back_to_);
    }
    return code;
  }

 private:
  static constexpr int kMaxMoves = 1'000;

  // Under the name that it had before, which is one of something else now, or of nothing.
  int follow(const std::string& path) {
    if (++moves_ > kMaxMoves) return 0;
    if (!is_directory_ && versions_of(path)) return print_file(path);
    std::optional<Anchored> place = anchor(path);
    if (!place) return kUsage;
    return print_directory(place->directory, place->below);
  }

  // It came from there in that change. Whether to go on there.
  bool comes_from(const std::string& path, int64_t zxid) {
    if (!options_.follows) {
      fmt::print("    moved from {0}; its older versions: zabfs log {0}\n", path);
      return false;
    }
    fmt::print("    moved from {}\n", path);
    next_ = path;
    before_ = zxid;
    return true;
  }

  // `only`: a path below the directory, of something that may be gone; empty: all.
  int print_directory(const std::string& directory, const std::string& only) {
    std::string source = join(directory, "@/changes");
    std::optional<std::string> text = read_file(source);
    if (!text) return fail(error_of(source));
    std::vector<Line> lines = lines_of(*text, goes_back_to_);
    constexpr std::string_view kSince = "since ";
    if (goes_back_to_.starts_with(kSince)) goes_back_to_ = goes_back_to_.substr(kSince.size());
    std::erase_if(lines, [&](const Line& line) {
      if (line.number() >= before_) return true;
      if (line.is_gap() || only.empty()) return false;
      if (line.is_move() && tree::is_within(only, line.path)) return false;
      return !tree::is_within(line.path, only) && !tree::is_within(line.from, only);
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
      if (print_change(directory, only.empty() ? "." : only, change)) break;
    }
    return 0;
  }

  // Whether what is asked for came from elsewhere in it, and is to be followed.
  bool print_change(const std::string& directory, const std::string& subject,
                    const std::vector<Line>& change) {
    std::vector<Line> lines, moves;
    for (const Line& line : change) (line.is_move() ? moves : lines).push_back(line);
    if (lines.empty() || !since_.admits(lines[0])) return false;
    if (lines[0].is_gap()) return print_gap(lines[0]), false;
    fmt::print("{}  {}  {}\n", lines[0].zxid, lines[0].time, text_of(lines[0].maker));
    for (const Line& line : lines) {
      fmt::print("    {}  {}{}\n", shown(line), line.path, note_of(line, subject, moves));
    }
    if (options_.with_diffs) print_diffs(directory, lines);
    std::string origin = origin_of(subject, lines, moves);
    return !origin.empty() && comes_from(place_of(directory, origin), lines[0].number());
  }

  // Of what is asked for there is more to say.
  static std::string note_of(const Line& line, const std::string& subject,
                             const std::vector<Line>& moves) {
    for (const Line& move : moves) {
      bool is_gone = line.what == "removed";
      if (is_gone && move.from == line.path) return fmt::format("  (moved to {})", move.path);
      if (!is_gone && move.path == line.path && line.path != subject) {
        return fmt::format("  (moved from {})", move.from);
      }
    }
    return {};
  }

  // Empty: it was not moved, neither alone nor with a directory.
  static std::string origin_of(const std::string& subject, const std::vector<Line>& lines,
                               const std::vector<Line>& moves) {
    bool came = std::any_of(lines.begin(), lines.end(), [&](const Line& line) {
      return line.path == subject && line.what != "removed";
    });
    auto move = std::find_if(moves.begin(), moves.end(),
                             [&](const Line& one) { return tree::is_within(subject, one.path); });
    if (!came || move == moves.end()) return {};
    return move->from + subject.substr(move->path.size());
  }

  static void print_diffs(const std::string& directory, const std::vector<Line>& lines) {
    for (const Line& line : lines) {
      std::string path = join(directory, line.path);
      std::optional<Versions> versions = versions_of(path);
      if (versions) print_diff(path, *versions, line.zxid);
    }
  }

  int print_file(const std::string& path) {
    std::optional<Versions> versions = versions_of(path);
    if (!versions) {
      return fail(fmt::format("{}: there is none, and the log of this node knows of none", path));
    }
    std::string directory = fs::path(path).parent_path();
    for (auto name = versions->names.rbegin(); name != versions->names.rend(); ++name) {
      std::string file = join(versions->directory, *name);
      Line line = line_of(file, *name);
      if (line.number() >= before_ || !since_.admits(line)) continue;
      fmt::print("{}  {}  {}  {}\n", line.zxid, line.time, shown(line), text_of(line.maker));
      if (options_.with_diffs) print_diff(path, *versions, line.zxid);
      std::string from = attribute(file, "from"), to = attribute(file, "to");
      if (!to.empty()) fmt::print("    moved to {}\n", place_of(directory, to));
      if (!from.empty() && comes_from(place_of(directory, from), line.number())) break;
    }
    return 0;
  }

  const LogOptions& options_;
  const Since since_;
  int64_t before_ = INT64_MAX;  // what is as new as that was something else
  std::string next_;            // to be followed there
  bool is_directory_ = false;
  int moves_ = 0;
  std::string goes_back_to_;
};

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
  return Log(options, when).print(options.path);
}

}  // namespace zabfs::tool
