// The pages of the manual, and the zoo.cfg that is installed.
#pragma once

#include <CLI/App.hpp>
#include <string>

#include "fsd/manual/page.h"

namespace zabfs::fsd::manual {

Page daemon_page(const CLI::App& app);  // zabfsd(8)
Page tool_page(const CLI::App& app);    // zabfs(1)
Page config_page();                     // zabfs.cfg(5)
Page recipes_page();                    // zabfs-recipes(7)

// A zoo.cfg for one node, with all other keys as comments.
std::string sample_config();

}  // namespace zabfs::fsd::manual
