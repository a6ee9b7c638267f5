// What the admin port is told in zoo.cfg; in comments, the keys.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace zabfs::fsd::admin {

struct AdminConfig {
  bool enabled = true;             // admin.enableServer
  std::optional<uint16_t> port;    // admin.serverPort; without it nothing listens
  std::string address;             // admin.serverAddress
  std::string path = "/commands";  // admin.commandURL
};

}  // namespace zabfs::fsd::admin
