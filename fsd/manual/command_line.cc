#include "fsd/manual/command_line.h"

#include <CLI/CLI.hpp>
#include <utility>

namespace zabfs::fsd::manual {

namespace {

std::vector<const CLI::Option*> all_options(const CLI::App& app) {
  return app.get_options([](const CLI::Option*) { return true; });
}

bool takes_many(const CLI::Option& option) { return option.get_items_expected_max() > 1; }

// `-n,--no-wait`, `--timeout FLOAT`, `dir`
std::string term_of(const CLI::Option& option) {
  if (option.get_positional()) return option.get_name(true, false);
  std::string term = option.get_name(false, true);
  std::string type = option.get_type_name();
  if (option.get_items_expected_max() > 0 && !type.empty()) term += " " + type;
  return term;
}

}  // namespace

std::string synopsis(const CLI::App& app) {
  std::string text = app.get_name() + " [OPTION]...";
  for (const CLI::Option* option : all_options(app)) {
    if (!option->get_positional()) continue;
    std::string name = option->get_name(true, false) + (takes_many(*option) ? "..." : "");
    text += option->get_required() ? " " + name : " [" + name + "]";
  }
  return text;
}

std::vector<Block> options_of(const CLI::App& app) {
  std::vector<Block> blocks;
  for (const CLI::Option* option : all_options(app)) {
    blocks.push_back(item(term_of(*option), option->get_description()));
  }
  return blocks;
}

std::vector<const CLI::App*> subcommands_of(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* sub) { return !sub->get_name().empty(); });
}

std::vector<std::string> subcommand_names(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : subcommands_of(app)) names.push_back(sub->get_name());
  return names;
}

}  // namespace zabfs::fsd::manual
