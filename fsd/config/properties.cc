#include "fsd/config/properties.h"

#include <sstream>

namespace zabfs::fsd {

namespace {

Property property_of(const std::string& text, const std::string& file, int line) {
  size_t separator = text.find_first_of("=:");
  Property property{file, line, trimmed(text.substr(0, separator)), ""};
  if (separator != std::string::npos) property.value = trimmed(text.substr(separator + 1));
  return property;
}

}  // namespace

std::string trimmed(const std::string& text) {
  constexpr const char* kSpaces = " \t\r";
  size_t first = text.find_first_not_of(kSpaces);
  if (first == std::string::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpaces) + 1 - first);
}

std::vector<Property> parse_properties(std::istream& in, const std::string& file) {
  std::vector<Property> properties;
  std::string text, whole;
  int number = 0, start = 0;
  while (std::getline(in, text)) {
    ++number;
    if (whole.empty()) start = number;
    text = trimmed(text);
    if (whole.empty() && (text.empty() || text[0] == '#' || text[0] == '!')) continue;
    if (text.ends_with('\\')) {
      whole += text.substr(0, text.size() - 1);
      continue;
    }
    properties.push_back(property_of(whole + text, file, start));
    whole.clear();
  }
  if (!whole.empty()) properties.push_back(property_of(whole, file, start));
  return properties;
}

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(trimmed(part));
  return parts;
}

}  // namespace zabfs::fsd
