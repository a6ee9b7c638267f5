// What may be in a line of the log. Much of what is logged names things from outside: clients,
// peers, files of users. The log's formatter puts every message through `log_line`, whoever wrote
// it, so that each message is one line, and does nothing to a terminal that shows it.
#pragma once

#include <spdlog/formatter.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace zabfs::fsd {

inline constexpr size_t kMaxLogLineBytes = 2'000;  // of a message, before its escapes

// The message, escaped: control characters, what breaks or turns lines, and what is not UTF-8. A
// longer one is cut, and says so.
std::string log_line(std::string_view message);

// Date, time, level and the message as a log line.
std::unique_ptr<spdlog::formatter> log_formatter();

}  // namespace zabfs::fsd
