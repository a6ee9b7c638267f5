#include "fsd/audit/audit_log.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <future>
#include <memory>
#include <utility>

#include "fsd/audit/audit_file.h"

namespace zabfs::fsd::audit {

namespace {

constexpr size_t kMaxNames = 10'000;

// As RFC 3339 has it, in local time.
std::string time_text() {
  auto now = std::chrono::system_clock::now().time_since_epoch();
  int64_t ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  std::time_t seconds = static_cast<std::time_t>(ms / 1'000);
  std::tm local = {};
  ::localtime_r(&seconds, &local);
  long offset = local.tm_gmtoff / 60;
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}{}{:02}:{:02}", local, ms % 1'000,
                     offset < 0 ? '-' : '+', std::abs(offset) / 60, std::abs(offset) % 60);
}

// The user's name; his number if he has none.
std::string look_up(uint32_t uid) {
  passwd entry = {};
  passwd* found = nullptr;
  std::string buffer(16u << 10, '\0');
  int error = ::getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found);
  return error == 0 && found != nullptr ? entry.pw_name : std::to_string(uid);
}

}  // namespace

AuditLog::AuditLog(consensus::Service& service, AuditConfig config, LogStyle style)
    : service_(service), config_(std::move(config)), style_(style), lane_("zabfs-audit") {}

AuditLog::~AuditLog() {
  auto written = std::make_shared<std::promise<void>>();
  std::future<void> done = written->get_future();
  lane_.post([written] { written->set_value(); });
  done.wait();
  lane_.stop();
}

Status AuditLog::open() {
  if (config_.file.empty()) return {};
  StatusOr<Descriptor> file = open_audit_file(config_.file);
  if (!file.ok()) {
    return Status::failed(
        fmt::format("the audit log can't be opened (zabfs.audit.file): {}", file.why()));
  }
  file_ = std::move(*file);
  is_torn_ = false;
  return {};
}

void AuditLog::reopen() {
  lane_.post([this] {
    Status status = open();
    if (status.ok()) return;
    service_.log(consensus::LogLevel::kError, status.why() + "; lines go on into the old file");
  });
}

void AuditLog::write(std::vector<Event> events) {
  if (events.empty()) return;
  size_t bytes = 0;
  for (const Event& event : events) bytes += event.size_bytes();
  if (waiting_bytes_.fetch_add(bytes) + bytes > kMaxWaitingBytes) {
    waiting_bytes_ -= bytes;
    return lose(events.size(), "too many wait to be written");
  }
  lane_.post([this, events = std::move(events), bytes] {
    for (const Event& event : events) write_now(event);
    waiting_bytes_ -= bytes;
  });
}

void AuditLog::write_own(const char* operation, Result result) {
  Event event;
  event.who.uids = {::geteuid()};
  event.operation = operation;
  event.result = result;
  write({event});
}

void AuditLog::write_now(const Event& event) {
  // What is there of a line that was cut off must not begin this one.
  std::string line = (is_torn_ ? "\n" : "") + line_of(event);
  ssize_t n = 0;
  do {
    n = ::write(file_ ? file_.get() : STDERR_FILENO, line.data(), line.size());
  } while (n < 0 && errno == EINTR);
  if (n == static_cast<ssize_t>(line.size())) {
    is_torn_ = false;
    return;
  }
  is_torn_ = is_torn_ || n > 0;
  lose(1, n < 0 ? std::strerror(errno) : "no room");
}

std::string AuditLog::line_of(const Event& event) {
  std::vector<std::string> users = event.who.users;
  for (uint32_t uid : event.who.uids) users.push_back(name_of(uid));
  std::string text = text_of(event, users) + "\n";
  if (!config_.file.empty()) return time_text() + " " + text;
  return style_ == LogStyle::kJournal ? "<6>audit: " + text : time_text() + " info audit: " + text;
}

const std::string& AuditLog::name_of(uint32_t uid) {
  auto found = names_.find(uid);
  if (found != names_.end()) return found->second;
  if (names_.size() >= kMaxNames) names_.clear();
  return names_[uid] = look_up(uid);
}

void AuditLog::lose(size_t count, const std::string& why) {
  service_.log_limited(consensus::LogLevel::kError,
                       fmt::format("the audit log lost {} lines: {}", count, why));
}

}  // namespace zabfs::fsd::audit
