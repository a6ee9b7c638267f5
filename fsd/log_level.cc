#include "fsd/log_level.h"

#include <spdlog/spdlog.h>

namespace zabfs::fsd {

namespace {

using spdlog::level::level_enum;

struct Level {
  const char* name;
  level_enum level;
};

constexpr Level kLevels[] = {{"debug", level_enum::debug},
                             {"info", level_enum::info},
                             {"warning", level_enum::warn},
                             {"error", level_enum::err}};

}  // namespace

std::optional<level_enum> log_level_named(std::string_view name) {
  for (const Level& level : kLevels) {
    if (name == level.name) return level.level;
  }
  return std::nullopt;
}

std::string log_level() {
  level_enum now = spdlog::get_level();
  for (const Level& level : kLevels) {
    if (now <= level.level) return level.name;
  }
  return "error";
}

void set_log_level(level_enum level) { spdlog::set_level(level); }

}  // namespace zabfs::fsd
