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

}  // namespace zabfs::fsd
