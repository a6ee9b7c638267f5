#include "fsd/log_line.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <sys/stat.h>
#include <syslog.h>

#include <boost/locale/utf.hpp>
#include <iterator>

namespace zabfs::fsd {

namespace {

namespace utf = boost::locale::utf;

// Control characters of ASCII and Latin-1, separators of lines, marks that turn the direction of
// what is read.
bool is_escaped(utf::code_point code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c || code == 0x200e ||
         code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

void append_escaped(std::string_view bytes, std::string& line) {
  if (bytes == "\n") {
    line += "\\n";
  } else if (bytes == "\r") {
    line += "\\r";
  } else if (bytes == "\t") {
    line += "\\t";
  } else {
    for (char c : bytes) {
      fmt::format_to(std::back_inserter(line), "\\x{:02x}", static_cast<unsigned char>(c));
    }
  }
}

class Message : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    std::string line = log_line({message.payload.data(), message.payload.size()});
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Message>();
  }
};

// Of syslog(3).
int priority_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug:
      return LOG_DEBUG;
    case spdlog::level::warn:
      return LOG_WARNING;
    case spdlog::level::err:
      return LOG_ERR;
    case spdlog::level::critical:
      return LOG_CRIT;
    case spdlog::level::info:
    case spdlog::level::off:
    case spdlog::level::n_levels:
      return LOG_INFO;
  }
  return LOG_INFO;
}

class Priority : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& out) override {
    out.push_back(static_cast<char>('0' + priority_of(message.level)));
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Priority>();
  }
};

}  // namespace

std::string log_line(std::string_view message, size_t max_bytes) {
  std::string line;
  size_t cut = message.size() > max_bytes ? message.size() - max_bytes : 0;
  message.remove_suffix(cut);
  line.reserve(message.size());
  const char* at = message.data();
  const char* end = at + message.size();
  while (at < end) {
    const char* next = at;
    utf::code_point code = utf::utf_traits<char>::decode(next, end);
    bool is_valid = code != utf::illegal && code != utf::incomplete;
    if (!is_valid) next = at + 1;
    std::string_view bytes(at, static_cast<size_t>(next - at));
    if (is_valid && !is_escaped(code)) {
      line += bytes;
    } else {
      append_escaped(bytes, line);
    }
    at = next;
  }
  if (cut > 0) line += fmt::format("... ({} bytes more)", cut);
  return line;
}

std::unique_ptr<spdlog::formatter> log_formatter(LogStyle style) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Message>('*').add_flag<Priority>('&');
  formatter->set_pattern(style == LogStyle::kJournal ? "<%&>%*" : "%Y-%m-%dT%H:%M:%S.%e%z %l %*");
  return formatter;
}

bool is_journal(int fd, const char* journal_stream) {
  struct stat st = {};
  return journal_stream != nullptr && ::fstat(fd, &st) == 0 &&
         journal_stream == fmt::format("{}:{}", st.st_dev, st.st_ino);
}

}  // namespace zabfs::fsd
