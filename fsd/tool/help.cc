// zabfs help: a page of the manual, a command, a recipe or a key of zoo.cfg.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "fsd/manual/command_line.h"
#include "fsd/manual/pages.h"
#include "fsd/suggestion.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace manual = fsd::manual;

namespace {

constexpr const char* kSample = "zoo.cfg";
constexpr const char* kTopics =
    "topics: a command; a file of the control room, as `queue`; a key of zoo.cfg, as "
    "`zabfs.mount`;\n"
    "  zabfs      the commands, zabfs(1)\n"
    "  zabfs.cfg  the configuration, zabfs.cfg(5)\n"
    "  recipes    the files in @, zabfs-recipes(7)\n"
    "  zoo.cfg    a configuration to begin with, all other keys as comments\n";

std::vector<manual::Page> pages(const CLI::App& app) {
  return {manual::tool_page(app), manual::config_page(), manual::recipes_page()};
}

// The name without what stands for the user's: `semaphore/N` is `semaphore`.
std::string_view topic_of(std::string_view term) {
  return term.substr(0, term.find_first_of("/ "));
}

std::vector<const manual::Block*> items_of(const manual::Page& page) {
  std::vector<const manual::Block*> items;
  for (const manual::Section& section : page.sections) {
    for (const manual::Block& block : section.blocks) {
      if (block.kind == manual::Block::Kind::kItem) items.push_back(&block);
    }
  }
  return items;
}

// Of the configuration and of the recipes; the page of commands has options.
bool print_item(const std::vector<manual::Page>& all, const std::string& topic) {
  for (const manual::Page& page : {all[1], all[2]}) {
    for (const manual::Block* item : items_of(page)) {
      if (topic_of(item->term) != topic) continue;
      fmt::print("{}: see {}({})\n\n{}\n", item->term, page.name, page.number, item->text);
      return true;
    }
  }
  return false;
}

std::vector<std::string> topics(const CLI::App& app, const std::vector<manual::Page>& all) {
  std::vector<std::string> names = manual::subcommand_names(app);
  for (const char* name : {"zabfs", "zabfs.cfg", "recipes", kSample}) names.emplace_back(name);
  for (const manual::Page& page : {all[1], all[2]}) {
    for (const manual::Block* item : items_of(page)) names.emplace_back(topic_of(item->term));
  }
  return names;
}

}  // namespace

int help(const CLI::App& app, const std::string& topic, bool as_man) {
  if (topic.empty()) {
    fmt::print("{}\n{}", app.help(), kTopics);
    return 0;
  }
  if (topic == kSample) {
    fmt::print("{}", manual::sample_config());
    return 0;
  }
  std::vector<manual::Page> all = pages(app);
  for (const manual::Page& page : all) {
    if (page.name != topic && page.name != "zabfs-" + topic) continue;
    fmt::print("{}", as_man ? manual::man_text(page) : manual::plain_text(page));
    return 0;
  }
  for (const CLI::App* command : manual::subcommands_of(app)) {
    if (command->get_name() != topic) continue;
    fmt::print("{}", command->help());
    return 0;
  }
  if (print_item(all, topic)) return 0;
  return fail(unknown("topic", topic, topics(app, all)) + " `zabfs help` lists them.", kUsage);
}

std::string unknown(const char* kind, const std::string& name,
                    const std::vector<std::string>& names) {
  std::string close = fsd::closest(name, names);
  std::string text = fmt::format("there is no {} \"{}\".", kind, name);
  return close.empty() ? text : text + fmt::format(" Did you mean \"{}\"?", close);
}

}  // namespace zabfs::tool
