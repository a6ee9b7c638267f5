// Who made a change, as the node tells it in `@/changes` and of a version: five words, `-` for what
// it does not know.
#pragma once

#include <istream>
#include <string>

namespace zabfs::tool {

struct Maker {
  std::string node = "-", session = "-", user = "-", client = "-", program = "-";
};
Maker read_maker(std::istream& in);
// Of a version, by its attribute.
Maker maker_of(const std::string& version_file);

// The user, with the name that its number has on this machine, as `ls -l` shows it; or the client;
// and the node.
std::string short_text_of(const Maker& maker);
// All that is known.
std::string text_of(const Maker& maker);

}  // namespace zabfs::tool
