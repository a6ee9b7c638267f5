// ZooKeeper's path rules (FORMATS.md 1.14; Java: PathUtils.validatePath).
#pragma once

#include <string>
#include <string_view>

namespace zabfs::tree {

// Whether the path may be created or written: absolute, no empty, "." or ".." segment, no control,
// surrogate or private character, well-formed UTF-8.
bool is_valid_path(std::string_view path);

// Whether a name may be one segment of such a path.
bool is_valid_name(std::string_view name);

// "/a/b" -> "/a"; "/a" -> "/". The root has no parent: it is its own.
std::string_view parent_path(std::string_view path);
// "/a/b" -> "b"; "/" -> "".
std::string_view base_name(std::string_view path);
// ("/", "a") -> "/a"; ("/a", "b") -> "/a/b".
std::string join_path(std::string_view parent, std::string_view name);
// The name that an exchange gives, within its transaction, to what had this one.
std::string aside_path(std::string_view path);
// Whether `path` is `top` or below it.
bool is_within(std::string_view path, std::string_view top);

}  // namespace zabfs::tree
