// What zoo.cfg says of the audit log.
#pragma once

#include <string>

namespace zabfs::fsd::audit {

struct AuditConfig {
  bool enabled = false;
  std::string file;  // empty: among the lines of the log
};

}  // namespace zabfs::fsd::audit
