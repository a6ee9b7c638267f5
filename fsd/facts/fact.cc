#include "fsd/facts/fact.h"

#include <fmt/format.h>

#include <type_traits>

namespace zabfs::fsd {

std::string text_of(const FactValue& value, bool is_hex) {
  return std::visit(
      [is_hex](const auto& of) -> std::string {
        using Type = std::decay_t<decltype(of)>;
        if constexpr (std::is_same_v<Type, std::string>) {
          return of;
        } else if constexpr (std::is_same_v<Type, double>) {
          return fmt::format("{:.4f}", of);
        } else if (is_hex) {
          return fmt::format("0x{:x}", static_cast<std::make_unsigned_t<Type>>(of));
        } else {
          return std::to_string(of);
        }
      },
      value);
}

std::string prometheus_text(const std::vector<Metric>& metrics) {
  std::string text;
  for (const Metric& metric : metrics) {
    std::string value =
        std::visit([](const auto& of) { return fmt::format("{}", of); }, metric.value);
    text += fmt::format("# HELP zabfs_{} {}\n# TYPE zabfs_{} {}\nzabfs_{} {}\n", metric.name,
                        metric.help, metric.name, metric.type, metric.name, value);
  }
  return text;
}

}  // namespace zabfs::fsd
