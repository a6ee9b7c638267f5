// A fact that a node tells of itself, under a name.
//
// `mntr`, `srvr` and `@/metrics` tell facts as text, the admin port tells them as JSON. A list of
// facts says once which there are, and each teller writes the whole list in its own form.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace zabfs::fsd {

using FactValue = std::variant<int32_t, int64_t, uint64_t, double, std::string>;

struct NamedFact {
  const char* name;
  FactValue value;
};

// As ZooKeeper writes it: "17", "0.2500", "0x1f".
std::string text_of(const FactValue& value, bool is_hex = false);

// A fact for Prometheus, whose name there begins with `zabfs_`.
struct Metric {
  const char* name;
  const char* type;  // "gauge" or "counter"
  const char* help;
  FactValue value;
};

// In the text format that Prometheus reads, which has a number's shortest form.
std::string prometheus_text(const std::vector<Metric>& metrics);

}  // namespace zabfs::fsd
