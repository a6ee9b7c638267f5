// The admin port's commands: what the four-letter words tell, as JSON objects under ZooKeeper's
// names (Java: org.apache.zookeeper.server.admin.Commands).
//
// On the strand.
#pragma once

#include <boost/json/object.hpp>
#include <string>
#include <vector>

#include "fsd/wire/server.h"

namespace zabfs::fsd::admin {

std::vector<std::string> command_names();
// The answer, with `command` and `error` in it; unknown commands get an error, as Java's.
boost::json::object run_command(wire::WireServer& server, const std::string& name);

}  // namespace zabfs::fsd::admin
