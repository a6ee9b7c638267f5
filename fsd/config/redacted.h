// A configuration that may be shown to others: for support.
//
// What a key is decides, not what its value looks like. Passwords and digests are left out, and so
// are comments and the values of keys that nobody here knows. A line that does not even look like a
// key with a value is left out as a whole, as of a file that is no configuration.
//
// Pure.
#pragma once

#include <istream>
#include <string>

namespace zabfs::fsd {

// Whether the value of that key is for nobody's eyes.
bool is_secret(const std::string& key);
// `key=value` lines, in order; `file` is the name of what is read.
std::string without_secrets(std::istream& in, const std::string& file);

}  // namespace zabfs::fsd
