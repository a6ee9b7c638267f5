// The options of a program as blocks of a manual page, from its CLI::App: the same table that reads
// the command line.
#pragma once

#include <CLI/App.hpp>
#include <string>
#include <vector>

#include "fsd/manual/page.h"

namespace zabfs::fsd::manual {

// `lock [OPTION]... dir command...`
std::string synopsis(const CLI::App& app);
std::vector<Block> options_of(const CLI::App& app);
// The subcommands that --help lists, in its order.
std::vector<const CLI::App*> subcommands_of(const CLI::App& app);
std::vector<std::string> subcommand_names(const CLI::App& app);

}  // namespace zabfs::fsd::manual
