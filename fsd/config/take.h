// How the rows of the table of keys take their values: each of these makes a Key::Take.
//
// `target` finds, in a ConfigReader, what the value goes to; ZABFS_AT names it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fsd/config/keys.h"
#include "fsd/config/reader.h"

#define ZABFS_AT(member) \
  [](ConfigReader & reader) -> auto& { return reader.member; }

namespace zabfs::fsd::take {

inline constexpr const char* kBoolean = "true, false";
inline constexpr const char* kTrueAlone = "true: the start is refused";  // of false alone

// One of zabfs's: what is no number, or not within the bounds, is an error.
template <class Target>
Key::Take own_number(Target target, int64_t low, int64_t high) {
  return [=](ConfigReader& reader, const Property& line) {
    reader.own_number(line, target(reader), low, high);
  };
}

// One that ZooKeeper reads from the file itself: what is no number is an error.
template <class Target>
Key::Take number(Target target, int64_t low, int64_t high) {
  return [=](ConfigReader& reader, const Property& line) {
    reader.number(line, target(reader), low, high);
  };
}

// One that ZooKeeper makes a system property of: what is no number has no effect.
template <class Target>
Key::Take property_number(Target target, int64_t low, int64_t high) {
  return [=](ConfigReader& reader, const Property& line) {
    reader.property_number(line, target(reader), low, high);
  };
}

template <class Target>
Key::Take boolean(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.boolean(line, target(reader)); };
}

// One that ZooKeeper makes a system property of: what is not `true` is false.
template <class Target>
Key::Take property_boolean(Target target) {
  return [=](ConfigReader& reader, const Property& line) {
    reader.property_boolean(line, target(reader));
  };
}

template <class Target>
Key::Take mode(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.mode(line, target(reader)); };
}

template <class Target>
Key::Take text(Target target) {
  return [=](ConfigReader& reader, const Property& line) { target(reader) = line.value; };
}

template <class Target>
Key::Take path(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.path(line, target(reader)); };
}

template <class Target>
Key::Take host(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.host(line, target(reader)); };
}

// 0: there is no such port.
template <class Target>
Key::Take port(Target target) {
  return [=](ConfigReader& reader, const Property& line) { reader.port(line, target(reader)); };
}

// A key that would open a door, or change what a quorum is, if it was ignored: only this value is
// taken, in any case.
inline Key::Take only(const char* value, const char* why) {
  return [=](ConfigReader& reader, const Property& line) { reader.only(line, value, why); };
}

// The end of a key that stands for many.
inline std::string end_of(const Property& line, const char* begin) {
  return line.key.substr(std::string_view(begin).size());
}

}  // namespace zabfs::fsd::take
