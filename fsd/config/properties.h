// The lines of a Java properties file, as zoo.cfg is one: `key=value` or `key:value`, comments with
// # and !, and a \ at the end of a line that the next one continues.
//
// It knows nothing of what keys mean. Spaces around keys and values go. Escapes other than that of
// the line's end are not read: a \ stays.
#pragma once

#include <istream>
#include <string>
#include <vector>

namespace zabfs::fsd {

struct Property {
  std::string file;
  int line = 0;  // from 1; the first of those that it is on
  std::string key, value;
};

// All of them, in order, keys that come twice included. `file` is the name of what is read.
std::vector<Property> parse_properties(std::istream& in, const std::string& file);

// The parts between commas, without spaces around them.
std::vector<std::string> comma_separated(const std::string& text);
std::string trimmed(const std::string& text);

}  // namespace zabfs::fsd
