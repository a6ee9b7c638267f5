// The lines of a Java properties file, as zoo.cfg is one (java.util.Properties): `key=value`,
// `key:value` or `key value`; comments with # and !; a \ at the end of a line that the next one
// continues. Elsewhere \ makes the next character an ordinary one, but for \t, \n, \r, \f and
// \uXXXX. A line ends with LF, CR or both.
//
// It knows nothing of what keys mean. Spaces around keys and values go. Other than for Java, the
// text is UTF-8, and a byte order mark at its beginning is skipped.
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
std::string in_lower_case(std::string text);  // of ASCII

}  // namespace zabfs::fsd
