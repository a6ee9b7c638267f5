// zabfs show and diff: one version of a file, and another.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "fsd/history/when.h"
#include "fsd/tool/past.h"
#include "fsd/tool/process.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace fs = std::filesystem;

namespace {

constexpr const char* kNothing = "/dev/null";
constexpr std::string_view kGone = ".gone";

bool is_there(const std::string& path) {
  struct stat st = {};
  return ::lstat(path.c_str(), &st) == 0;
}

uint64_t number_of(const std::string& version) {
  return std::strtoull(version.c_str(), nullptr, 16);
}

}  // namespace

bool is_directory(const std::string& path) {
  struct stat st = {};
  return ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

std::string label_of(const PathAt& of) {
  return of.path + (of.when.empty() ? " (now)" : "@" + of.when);
}

namespace {

std::optional<Anchored> find_anchor(const std::string& path) {
  std::string absolute = fs::absolute(path).lexically_normal();
  while (absolute.size() > 1 && absolute.ends_with('/')) absolute.pop_back();
  Anchored found{absolute, {}};
  while (!is_directory(found.directory) && found.directory.size() > 1) {
    fs::path at(found.directory);
    found.below = at.filename().string() + (found.below.empty() ? "" : "/" + found.below);
    found.directory = at.parent_path();
  }
  if (!is_in_mount(found.directory)) return std::nullopt;
  return found;
}

}  // namespace

std::string why_not(const PathAt& wanted) {
  if (wanted.when.empty()) return {};
  std::optional<Anchored> place = find_anchor(wanted.path);
  std::string name = "why." + wanted.when;
  std::string why = place ? attribute(join(place->directory, "@/at"), name.c_str()) : "";
  return why == "ok" ? "" : why;
}

int no_such(const PathAt& wanted) {
  if (std::string why = why_not(wanted); !why.empty()) {
    return fail(fmt::format("{}: {}", label_of(wanted), why));
  }
  std::string name = fs::path(wanted.path).filename();
  if (wanted.when.empty() && name.find('@', 1) != std::string::npos) {
    return fail(
        fmt::format("{}: there is none. If a point of time is meant by what is behind the @: "
                    "it is neither a zxid nor a time, as 2026-11-30T04:15 or -2h",
                    wanted.path));
  }
  return fail(fmt::format("{}: there was none. `zabfs log {}` shows what there was",
                          label_of(wanted), wanted.path));
}

PathAt parse_path_at(const std::string& text) {
  size_t at = text.rfind('@');
  if (at == std::string::npos || at == 0) return {text, {}};
  std::string when = text.substr(at + 1);
  if (!fsd::parse_when(when, 0)) return {text, {}};
  return {text.substr(0, at), when};
}

std::optional<Anchored> anchor(const std::string& path) {
  if (std::optional<Anchored> found = find_anchor(path)) return found;
  fail(fmt::format("{} is in no zabfs mount", path), kUsage);
  return std::nullopt;
}

std::string file_at(const PathAt& wanted) {
  if (wanted.when.empty()) return is_there(wanted.path) ? wanted.path : "";
  std::optional<Anchored> place = anchor(wanted.path);
  if (!place) return {};
  // A version of its own name is there even if the log begins behind it.
  if (!place->below.empty() && place->below.find('/') == std::string::npos) {
    std::string version = join(place->directory, "@/history/" + place->below + "/" + wanted.when);
    if (is_there(version)) return version;
  }
  std::string then = join(place->directory, "@/at/" + wanted.when);
  if (!place->below.empty()) then = join(then, place->below);
  return is_there(then) ? then : "";
}

std::optional<Versions> versions_of(const std::string& path) {
  std::string absolute = fs::absolute(path).lexically_normal();
  fs::path file(absolute);
  Versions versions;
  versions.directory = join(file.parent_path().string(), "@/history/" + file.filename().string());
  if (!is_there(versions.directory)) return std::nullopt;
  versions.names = names_in(versions.directory);
  std::erase(versions.names, "current");
  std::sort(versions.names.begin(), versions.names.end(),
            [](const auto& a, const auto& b) { return number_of(a) < number_of(b); });
  return versions;
}

int diff(const std::string& before, const std::string& before_label, const std::string& after,
         const std::string& after_label) {
  bool whole = is_directory(before) || is_directory(after);
  std::vector<std::string> words = {"diff", whole ? "-ruN" : "-u"};
  if (!whole) {
    words.insert(words.end(), {"--label", before_label, "--label", after_label});
  }
  words.insert(words.end(), {before.empty() ? kNothing : before, after.empty() ? kNothing : after});
  std::fflush(stdout);
  return run_command(words);
}

void print_diff(const std::string& path, const Versions& versions, const std::string& zxid) {
  auto is_it = [&](const std::string& name) { return number_of(name) == number_of(zxid); };
  auto at = std::find_if(versions.names.begin(), versions.names.end(), is_it);
  if (at == versions.names.end()) return;
  auto place = [&](const std::string& name) -> std::string {
    std::string file = join(versions.directory, name);
    struct stat st = {};
    bool is_file = ::lstat(file.c_str(), &st) == 0 && S_ISREG(st.st_mode);
    return is_file && !name.ends_with(kGone) ? file : "";
  };
  std::string after = place(*at);
  std::string before = at == versions.names.begin() ? "" : place(*std::prev(at));
  bool is_first = at == versions.names.begin() && attribute(after, "what") == "before";
  if ((before.empty() && after.empty()) || is_first) return;
  std::string name = fs::path(path).filename();
  diff(before, before.empty() ? kNothing : fmt::format("{}@{}", name, *std::prev(at)), after,
       after.empty() ? kNothing : fmt::format("{}@{}", name, *at));
}

int show(const std::string& what) {
  PathAt wanted = parse_path_at(what);
  std::string file = file_at(wanted);
  if (file.empty()) return no_such(wanted);
  if (is_directory(file)) {
    return fail(fmt::format("{} was a directory: look into {}", label_of(wanted), file));
  }
  if (fs::is_symlink(fs::symlink_status(file))) {
    fmt::print("{}\n", fs::read_symlink(file).string());
    return 0;
  }
  std::optional<std::string> text = read_file(file);
  if (!text) return fail(error_of(file));
  size_t done = std::fwrite(text->data(), 1, text->size(), stdout);
  return done == text->size() && std::fflush(stdout) == 0 ? 0 : fail("standard output: no room");
}

int diff_versions(const std::string& before, const std::string& after) {
  PathAt a = parse_path_at(before);
  PathAt b = after.empty() ? PathAt{a.path, {}} : parse_path_at(after);
  if (after.empty() && a.when.empty()) {  // the last version before the one that is there
    std::optional<Versions> versions = versions_of(a.path);
    if (!versions) return no_such(a);
    if (versions->names.size() < 2) {
      return fail(fmt::format("{} has no other version in the log of this node", a.path));
    }
    a.when = *std::prev(versions->names.end(), 2);
    b.when = versions->names.back();
  }
  std::string from = a.when.ends_with(kGone) ? "" : file_at(a);
  std::string to = b.when.ends_with(kGone) ? "" : file_at(b);
  for (const auto& [file, of] : {std::pair(from, a), std::pair(to, b)}) {
    bool is_missing = file.empty() && !of.when.ends_with(kGone);
    if (is_missing && !why_not(of).empty()) return no_such(of);
  }
  if (from.empty() && to.empty()) return no_such(a);
  return diff(from, from.empty() ? kNothing : label_of(a), to, to.empty() ? kNothing : label_of(b));
}

}  // namespace zabfs::tool
