// What the log is told: its level has a name, as `zabfs.log.level` and `@/log-level` take it.
//
// The level is the process's, spdlog's. `set_log_level` on any thread, at any time.
#pragma once

#include <spdlog/common.h>

#include <optional>
#include <string>
#include <string_view>

namespace zabfs::fsd {

inline constexpr const char* kLogLevels = "debug, info, warning, error";

// nullopt: none of them has that name.
std::optional<spdlog::level::level_enum> log_level_named(std::string_view name);
std::string log_level();  // in force
void set_log_level(spdlog::level::level_enum level);

}  // namespace zabfs::fsd
