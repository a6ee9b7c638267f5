// What a command prints, for a command of zabfs's own that must come to its end whatever hangs.
#pragma once

#include <string>
#include <vector>

#include "tree/status.h"

namespace zabfs::tool {

struct CaptureLimits {
  int timeout_ms = 10'000;
  size_t bytes = 16u << 20;  // what is beyond that is left out, and the text says so
};

// Its standard output. It failed: its first words on standard error, or its exit code; behind the
// output, if there is any and it said why. One that does not end in time is killed, and not waited
// for if it can't die.
StatusOr<std::string> capture(const std::vector<std::string>& words, CaptureLimits limits = {});

}  // namespace zabfs::tool
