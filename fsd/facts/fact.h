// A fact that a node tells of itself, under a name.
//
// `mntr` and `srvr` tell facts as text, the admin port tells them as JSON. A list of facts says
// once which there are, and each teller writes the whole list in its own form. Facts that are
// counted or measured come from the registry (registry.h).
#pragma once

#include <cstdint>
#include <string>
#include <variant>

namespace zabfs::fsd {

using FactValue = std::variant<int32_t, int64_t, uint64_t, double, std::string>;

struct NamedFact {
  std::string name;
  FactValue value;
};

// As ZooKeeper writes it: "17", "0.2500", "0x1f".
std::string text_of(const FactValue& value, bool is_hex = false);

}  // namespace zabfs::fsd
