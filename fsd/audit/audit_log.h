// Where the lines of the audit log go: into a file of their own, or among those of the daemon's log
// on standard error.
//
// logrotate moves the file away and sends SIGHUP (`reopen`), or uses copytruncate. A line that
// can't be written is lost, and the daemon's log says how many were: no write of anybody waits for
// it.
//
// `write` and `reopen` on any thread. One thread of its own looks names up and writes; past
// kMaxWaitingBytes of events that wait for it, further ones are lost, and counted the same.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "consensus/lane.h"
#include "consensus/service.h"
#include "fsd/audit/config.h"
#include "fsd/audit/event.h"
#include "fsd/beneath.h"
#include "fsd/log_line.h"
#include "tree/status.h"

namespace zabfs::fsd::audit {

class AuditLog {
 public:
  static constexpr size_t kMaxWaitingBytes = 64u << 20;

  // `style` is that of the daemon's log.
  AuditLog(consensus::Service& service, AuditConfig config, LogStyle style);
  // Writes what waits.
  ~AuditLog();

  Status open();
  // Goes on in a file of that name, if another one has taken its place.
  void reopen();
  void write(std::vector<Event> events);
  // One about the server itself, as its own user: serverStart, serverStop.
  void write_own(const char* operation, Result result);

 private:
  void write_now(const Event& event);
  std::string line_of(const Event& event);
  const std::string& name_of(uint32_t uid);
  void lose(size_t count, const std::string& why);

  consensus::Service& service_;
  const AuditConfig config_;
  const LogStyle style_;
  std::atomic<size_t> waiting_bytes_{0};
  // On the lane:
  Descriptor file_;       // none: standard error
  bool is_torn_ = false;  // the last line is there in part
  std::map<uint32_t, std::string> names_;
  consensus::Lane lane_;
};

}  // namespace zabfs::fsd::audit
