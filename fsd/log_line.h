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
std::string log_line(std::string_view message, size_t max_bytes = kMaxLogLineBytes);

enum class LogStyle {
  kTimed,    // the time, as RFC 3339 has it in local time, the level and the message
  kJournal,  // `<N>`, the level as syslog numbers it, and the message: the journal has the time
};
std::unique_ptr<spdlog::formatter> log_formatter(LogStyle style);

// Whether that descriptor is the journal's. systemd says in $JOURNAL_STREAM which file that is, as
// DEVICE:INODE; a program that inherited the variable alone may write elsewhere.
bool is_journal(int fd, const char* journal_stream);

}  // namespace zabfs::fsd
