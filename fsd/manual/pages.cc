#include "fsd/manual/pages.h"

#include <fmt/format.h>

#include <iterator>
#include <set>
#include <utility>
#include <vector>

#include "fsd/config/keys.h"
#include "fsd/manual/command_line.h"
#include "fsd/recipes/help.h"

namespace zabfs::fsd::manual {

namespace {

Section see_also(std::string text) { return {"SEE ALSO", {paragraph(std::move(text))}}; }

void append(std::vector<Block>& blocks, std::vector<Block> more) {
  blocks.insert(blocks.end(), std::make_move_iterator(more.begin()),
                std::make_move_iterator(more.end()));
}

// What a value may be, what it is by default, and what it does.
std::string text_of(const Key& key) {
  std::string text = key.value;
  if (!key.fallback.empty()) text += "; default " + key.fallback;
  return key.help.empty() ? text : key.help + " (" + text + ")";
}

// Each command, and the commands that it has in turn.
void append_commands(const CLI::App& app, const std::string& name, std::vector<Block>& blocks) {
  for (const CLI::App* sub : subcommands_of(app)) {
    blocks.push_back(paragraph("`" + name + " " + synopsis(*sub) + "`"));
    blocks.push_back(paragraph(sub->get_description() + "."));
    append(blocks, options_of(*sub));
    append_commands(*sub, name + " " + sub->get_name(), blocks);
  }
}

std::vector<Block> key_items(bool own) {
  std::vector<Block> blocks;
  for (const Key& key : config_keys()) {
    if (key.has_effect() && key.is_own() == own) blocks.push_back(item(key.name, text_of(key)));
  }
  return blocks;
}

std::vector<Block> keys_without_effect() {
  std::vector<Block> blocks;
  for (const Key& key : config_keys()) {
    if (!key.has_effect()) blocks.push_back(item(key.name, key.help));
  }
  return blocks;
}

// ---- the sample

constexpr const char* kSampleBegin =
    R"(# A node of zabfs. zabfs.cfg(5) explains the keys, and so does `zabfs help zabfs.cfg`.
# After a change: systemctl restart zabfs; after one of zabfs.mount, first systemctl daemon-reload.

# One node alone. Clients of this machine reach it at port 2181.
tickTime=2000
initLimit=10
syncLimit=5
dataDir=/var/lib/zabfs
clientPort=2181
clientPortAddress=127.0.0.1
zabfs.mount=/zab

# An ensemble of three: these lines in the file of each, without the line clientPortAddress, and in
# the file myid of each dataDir its number.
#server.1=10.0.0.1:2888:3888
#server.2=10.0.0.2:2888:3888
#server.3=10.0.0.3:2888:3888
)";

const std::set<std::string>& keys_of_the_begin() {
  static const std::set<std::string> kKeys = {"tickTime",    "initLimit",  "syncLimit",
                                              "dataDir",     "clientPort", "clientPortAddress",
                                              "zabfs.mount", "server.*"};
  return kKeys;
}

std::string commented(const std::string& text) {
  constexpr size_t kCommentColumns = 98;
  std::string out, line = "#";
  size_t at = 0;
  while (at < text.size()) {
    size_t end = std::min(text.find(' ', at), text.size());
    if (line.size() + 1 + end - at > kCommentColumns) out += std::exchange(line, "#") + "\n";
    line += " " + text.substr(at, end - at);
    at = end + 1;
  }
  return out + line + "\n";
}

// `#zabfs.quorumGrace=5000`: the default, without its unit.
std::string sample_line(const Key& key) {
  std::string name = key.name;
  if (name.ends_with('*')) name.replace(name.size() - 1, 1, "NAME");
  std::string value = key.fallback.substr(0, key.fallback.find(' '));
  return fmt::format("#{}={}\n", name, value == "none" ? "" : value);
}

std::string sample_keys(bool own) {
  std::string text;
  for (const Key& key : config_keys()) {
    bool is_needed = key.has_effect() && !keys_of_the_begin().contains(key.name);
    if (is_needed && key.is_own() == own) {
      text += "\n" + commented(text_of(key)) + sample_line(key);
    }
  }
  return text;
}

}  // namespace

Page daemon_page(const CLI::App& app) {
  Page page{"zabfsd", 8, "one member of a replicated ZooKeeper tree that is mounted", {}};
  page.sections = {
      {"SYNOPSIS",
       {paragraph("`zabfsd` [OPTION]... zoo.cfg"),
        paragraph("`zabfsd --data-dir` DIR `--mount` DIR [OPTION]...")}},
      {"DESCRIPTION",
       {paragraph(
            "zabfsd keeps a full copy of one tree of znodes, equal to that of the other members, "
            "mounts it, and serves ZooKeeper's clients. It stays in the foreground and logs to "
            "standard error. On SIGTERM and SIGINT it gives up its locks and ephemerals, unmounts "
            "and ends. On SIGHUP it opens the file of the audit log anew."),
        paragraph(
            "A user other than root mounts by fusermount3(1). Others can look into that mount only "
            "if /etc/fuse.conf has user_allow_other.")}},
      {"OPTIONS", options_of(app)},
      {"EXIT STATUS",
       {item("0", "a signal ended it, or somebody unmounted the mount"),
        item("1", "it failed; the last line of the log says why"),
        item("2", "the configuration or the command line is wrong: another start would not help")}},
      {"SYSTEMD",
       {paragraph(
           "`zabfs.service` runs the node of /etc/zabfs/zoo.cfg, `zabfs@NAME.service` the "
           "node of /etc/zabfs/NAME.cfg. A node is started once it has a quorum and is "
           "mounted; until then `systemctl status` says what it waits for. A unit that has "
           "RequiresMountsFor= with the mount starts the node, and begins once it is mounted.")}},
      {"FILES",
       {item("/etc/zabfs/zoo.cfg", "the configuration, zabfs.cfg(5)"),
        item("/var/lib/zabfs", "log and snapshots, unless dataDir is another"),
        item("dataDir/myid", "the number of this member")}},
      see_also("zabfs(1), zabfs.cfg(5), zabfs-recipes(7), fusermount3(1)")};
  return page;
}

Page tool_page(const CLI::App& app) {
  Page page{"zabfs", 1, "locks, watches, members and the state of a mounted ensemble", {}};
  Section commands{"COMMANDS", {}};
  append_commands(app, "zabfs", commands.blocks);
  page.sections = {
      {"SYNOPSIS", {paragraph("`zabfs` COMMAND [OPTION]... [ARGUMENT]...")}},
      {"DESCRIPTION",
       {paragraph("zabfs works through a mount of zabfsd(8), as any script could. Only `zabfs "
                  "check` reads the files of a node, which must be stopped; `zabfs debug` lists "
                  "their names.")}},
      std::move(commands),
      {"EXIT STATUS",
       {item("0", "done; of `status`: the node has a quorum"), item("1", "it failed"),
        item("2", "the command line is wrong"), item("75", "of `lock`: somebody else has the lock"),
        item("125", "of `lock`: the lock was lost while the command ran"),
        item("other", "of `lock` and `run`: the exit status of the command")}},
      {"ENVIRONMENT",
       {item("ZABFS_MOUNT", "the mount that `status`, `members`, `log-level` and `debug` ask"),
        item("ZABFS_AUTH",
             "SCHEME:CREDENTIALS for the server that `--server` names, as digest:USER:PASSWORD"),
        item("NO_COLOR", "if it is not empty, `status` uses no colours on a terminal"),
        item("VISUAL, EDITOR", "the editor of `edit`"),
        item("ZABFS_TOKEN", "the fencing token of the lock, for the command of `lock`"),
        item("ZABFS_DIR, ZABFS_ZXID, ZABFS_CHANGES", "what changed, for the command of `watch`")}},
      see_also("zabfsd(8), zabfs.cfg(5), zabfs-recipes(7)")};
  return page;
}

Page config_page() {
  Page page{"zabfs.cfg", 5, "the configuration of zabfsd, ZooKeeper's zoo.cfg", {}};
  page.sections = {
      {"DESCRIPTION",
       {paragraph("zabfsd(8) reads a zoo.cfg as ZooKeeper does: a properties file of Java, a line "
                  "`KEY=VALUE` for each setting. Lines that begin with # are comments. A key that "
                  "is not known is a warning, and an error if it begins with zabfs. A value that "
                  "is malformed ends the start. `zabfsd --check-config` tells both. A member of an "
                  "ensemble reads its number from the file myid in dataDir.")}},
      {"KEYS OF ZABFS", key_items(true)},
      {"KEYS OF ZOOKEEPER", {paragraph("They mean what they mean there.")}},
      {"KEYS WITHOUT EFFECT", {paragraph("ZooKeeper has these, and a zoo.cfg may have them.")}},
      {"EXAMPLE",
       {verbatim("tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir=/var/lib/zabfs\n"
                 "server.1=10.0.0.1:2888:3888\nserver.2=10.0.0.2:2888:3888\n"
                 "server.3=10.0.0.3:2888:3888\nclientPort=2181\nzabfs.mount=/zab")}},
      {"FILES", {item("/etc/zabfs/zoo.cfg", "what `zabfs.service` reads")}},
      see_also("zabfsd(8), zabfs(1), zabfs-recipes(7)")};
  append(page.sections[2].blocks, key_items(false));
  append(page.sections[3].blocks, keys_without_effect());
  return page;
}

Page recipes_page() {
  Page page{"zabfs-recipes", 7, "the files in @: locks, elections, queues and others", {}};
  page.sections = {
      {"DESCRIPTION",
       {paragraph("Each directory of a mount of zabfsd(8) has a directory `@`, which is never "
                  "listed: its control room. The text below is that of the file `@/help`.")}},
      {"THE CONTROL ROOM", blocks_of(kHelpText)},
      see_also("zabfs(1), zabfsd(8), zabfs.cfg(5), flock(1)")};
  return page;
}

std::string sample_config() {
  return kSampleBegin + std::string("\n# ---- all other keys of zabfs, with their defaults\n") +
         sample_keys(true) + "\n# ---- all other keys of ZooKeeper's\n" + sample_keys(false);
}

}  // namespace zabfs::fsd::manual
