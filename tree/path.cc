#include "tree/path.h"

#include <cstdint>

namespace zabfs::tree {
namespace {

// Decodes one UTF-8 character at the front of `text` and removes it; -1 if malformed. Characters
// above U+FFFF are two surrogates to Java, which its path check refuses, so they are malformed
// here.
int32_t next_character(std::string_view& text) {
  auto byte_at = [&text](size_t i) { return static_cast<uint8_t>(text[i]); };
  auto continuation = [&](size_t i) { return i < text.size() && (byte_at(i) & 0xc0) == 0x80; };
  uint8_t lead = byte_at(0);
  if (lead < 0x80) {
    text.remove_prefix(1);
    return lead;
  }
  if ((lead & 0xe0) == 0xc0 && continuation(1)) {
    int32_t character = ((lead & 0x1f) << 6) | (byte_at(1) & 0x3f);
    text.remove_prefix(2);
    return character < 0x80 ? -1 : character;
  }
  if ((lead & 0xf0) == 0xe0 && continuation(1) && continuation(2)) {
    int32_t character = ((lead & 0x0f) << 12) | ((byte_at(1) & 0x3f) << 6) | (byte_at(2) & 0x3f);
    text.remove_prefix(3);
    return character < 0x800 ? -1 : character;
  }
  return -1;
}

bool is_allowed(int32_t c) {
  if (c < 0x20) return false;
  if (c >= 0x7f && c <= 0x9f) return false;
  if (c >= 0xd800 && c <= 0xf8ff) return false;
  return c < 0xfff0;
}

}  // namespace

bool is_valid_name(std::string_view name) {
  if (name.empty() || name == "." || name == "..") return false;
  while (!name.empty()) {
    if (name[0] == '/' || !is_allowed(next_character(name))) return false;
  }
  return true;
}

bool is_valid_path(std::string_view path) {
  if (path == "/") return true;
  if (path.empty() || path[0] != '/') return false;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    size_t end = path.find('/');
    if (!is_valid_name(path.substr(0, end))) return false;
    path = end == std::string_view::npos ? std::string_view() : path.substr(end);
  }
  return true;
}

std::string_view parent_path(std::string_view path) {
  size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return "/";
  return path.substr(0, slash);
}

std::string_view base_name(std::string_view path) {
  size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

std::string join_path(std::string_view parent, std::string_view name) {
  std::string path(parent == "/" ? std::string_view() : parent);
  path += '/';
  path += name;
  return path;
}

std::string aside_path(std::string_view path) { return std::string(path) + ".zabfs-exchange"; }

bool is_within(std::string_view path, std::string_view top) {
  if (top == "/") return true;
  return path.starts_with(top) && (path.size() == top.size() || path[top.size()] == '/');
}

}  // namespace zabfs::tree
