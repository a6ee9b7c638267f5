// What the commands that look at the past share (log.cc, version.cc, revert.cc): where a mount
// shows it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace zabfs::tool {

// `PATH@WHEN`; without `@WHEN` the path as it is now. The last `@` counts, if a point of time
// (fsd/history/when.h) stands behind it.
struct PathAt {
  std::string path;
  std::string when;  // empty: now
};
PathAt parse_path_at(const std::string& text);
std::string label_of(const PathAt& of);
// Why a mount shows nothing of that time; empty: it does, or can't say.
std::string why_not(const PathAt& wanted);
// Says that there was none, why, and what to do; gives the exit code.
int no_such(const PathAt& wanted);
// Also of what a symlink leads to.
bool is_directory(const std::string& path);

// A path as a directory of the mount that is there, and what is below it.
struct Anchored {
  std::string directory;
  std::string below;  // empty: the directory itself
};
// By the nearest directory above it that is there; nullopt, with a word on standard error: it is in
// no mount.
std::optional<Anchored> anchor(const std::string& path);

// Where the mount has what was there then; empty if it had nothing, or the log does not go back so
// far.
std::string file_at(const PathAt& wanted);

// The versions of a file, oldest first, as the names in `@/history/NAME/`.
struct Versions {
  std::string directory;  // that one
  std::vector<std::string> names;
};
std::optional<Versions> versions_of(const std::string& path);

// Runs `diff -u` of two files, one of which may be empty (there was none), with these labels. Its
// exit code.
int diff(const std::string& before, const std::string& before_label, const std::string& after,
         const std::string& after_label);
// What the change at `zxid` did to the file, which has these versions.
void print_diff(const std::string& path, const Versions& versions, const std::string& zxid);

}  // namespace zabfs::tool
