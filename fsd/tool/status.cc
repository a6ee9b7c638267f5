// zabfs status, and members as a list: what a node knows of its ensemble, from `@/cluster` of a
// mount of this machine, or from a server (server.h).
#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>

#include "fsd/tool/cluster.h"
#include "fsd/tool/server.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {

namespace {

constexpr auto kRed = fmt::terminal_color::red;
constexpr auto kYellow = fmt::terminal_color::yellow;

// Text for a terminal, or for a file.
class Page {
 public:
  explicit Page(bool is_colored) : is_colored_(is_colored) {}
  void add(const std::string& text) { text_ += text; }
  void add(const fmt::text_style& style, const std::string& text) {
    text_ += is_colored_ ? fmt::format(style, "{}", text) : text;
  }
  const std::string& text() const { return text_; }

 private:
  const bool is_colored_;
  std::string text_;
};

fmt::text_style style_of(const std::string& state, const std::string& role) {
  if (state == "lost" || state == "disk full") return fmt::fg(kRed);
  if (state == "lagging" || state == "looking" || state == "unknown") return fmt::fg(kYellow);
  return role == "leader" ? fmt::text_style(fmt::emphasis::bold) : fmt::text_style();
}

// Who does not serve has no role but the one that it is configured for.
std::string role_of(const ClusterMember& member) {
  if (member.is_here()) return member.role;
  std::string votes = member.fact("votes");
  return votes == "yes" ? "voter" : votes == "no" ? "observer" : "-";
}

// "-", "now", "12 s", "3 h": of milliseconds.
std::string time_of(const std::string& text_ms) {
  int64_t ms = 0;
  auto [end, error] = std::from_chars(text_ms.data(), text_ms.data() + text_ms.size(), ms);
  if (error != std::errc()) return "-";
  int64_t s = ms / 1'000;
  if (s == 0) return "now";
  if (s < 120) return fmt::format("{} s", s);
  return s < 7'200 ? fmt::format("{} min", s / 60) : fmt::format("{} h", s / 3'600);
}

std::string size_of(const std::string& bytes) {
  uint64_t size = 0;
  auto [end, error] = std::from_chars(bytes.data(), bytes.data() + bytes.size(), size);
  if (error != std::errc()) return "-";
  constexpr double kMiB = 1u << 20, kGiB = 1u << 30;
  auto amount = static_cast<double>(size);
  return size < (1u << 30) ? fmt::format("{:.0f} MiB", amount / kMiB)
                           : fmt::format("{:.1f} GiB", amount / kGiB);
}

void print_members(const Cluster& cluster, Page& page) {
  uint64_t newest = cluster.newest_zxid();
  page.add(fmt::format("  {:>3}  {:9} {:9} {:14} {:>7}  {:9} {:>7}  {}\n", "ID", "ROLE", "STATE",
                       "ZXID", "BEHIND", "VERSION", "HEARD", "ADDRESS"));
  for (const ClusterMember& member : cluster.members) {
    std::string state = state_of(cluster, member);
    const char* here = member.id == cluster.value("node") ? "*" : " ";
    page.add(style_of(state, member.role),
             fmt::format("{} {:>3}  {:9} {:9} {:14} {:>7}  {:9} {:>7}  {}", here, member.id,
                         role_of(member), state, member.fact("zxid"), lag_of(member, newest),
                         member.fact("version"), time_of(member.fact("heard")), member.address));
    page.add("\n");
  }
  for (const ClusterMember& member : cluster.members) {
    if (member.unreachable.empty()) continue;
    page.add(fmt::format("server {} can't be reached: {}\n", member.id, member.unreachable));
  }
}

void print_quorum(const Cluster& cluster, Page& page) {
  std::string voters = cluster.value("voters");
  if (!cluster.has_quorum()) {
    page.add(fmt::fg(kRed) | fmt::emphasis::bold, "no quorum");
    page.add(voters == "-" ? "\n" : fmt::format(" of {} voters\n", voters));
    return;
  }
  page.add("quorum");
  if (cluster.value("present") != "-") {
    page.add(fmt::format(": {} of {} voters, may lose {}", cluster.value("present"), voters,
                         cluster.value("may_lose")));
  }
  page.add(fmt::format("; leader {}, epoch {}\n", cluster.value("leader"), cluster.value("epoch")));
}

void print_state(const std::string& place, const Cluster& cluster, Page& page) {
  page.add(fmt::format("{}: node {}, {}, zxid {}", place, cluster.value("node"),
                       cluster.value("role"), cluster.value("zxid")));
  if (cluster.value("votes") == "no") page.add(", has no vote");
  page.add(fmt::format("; ensemble {}\n", cluster.value("ensemble")));
  print_quorum(cluster, page);
  page.add(fmt::format("clients: {} connections to this node, {} sessions of the ensemble\n",
                       cluster.value("connections"), cluster.value("sessions")));
  bool is_full = cluster.value("disk") == "full";
  page.add(is_full ? fmt::text_style(fmt::fg(kRed)) : fmt::text_style(),
           fmt::format("disk {}", cluster.value("disk")));
  page.add(fmt::format(": {} of {} free on this node", size_of(cluster.value("disk_free")),
                       size_of(cluster.value("disk_size"))));
  std::string history = cluster.value("history");
  bool has_history = !history.empty() && history != "-" && history != "0";
  page.add(has_history ? fmt::format("; old versions take {}\n", size_of(history)) : "\n");
  print_members(cluster, page);
  for (const std::string& note : cluster.notes) page.add("note: " + note + "\n");
}

StatusOr<Cluster> cluster_of_mount(const std::string& mount) {
  std::string file = mount + "/@/cluster";
  std::optional<std::string> text = read_file(file);
  if (text) return parse_cluster(*text);
  bool is_gone = errno == ENOTCONN;
  if (!is_gone) return Status::failed(error_of(file));
  return Status::failed(mount + ": its zabfsd is gone; its log says why. Start it again");
}

int show(const StatusOptions& options) {
  bool is_mount = options.server.address.empty();
  StatusOr<Cluster> cluster =
      is_mount ? cluster_of_mount(options.mount) : cluster_of_server(options.server);
  if (!cluster.ok()) return fail(cluster.why());
  const char* no_color = std::getenv("NO_COLOR");
  bool wants_color = no_color == nullptr || *no_color == '\0';
  Page page(wants_color && ::isatty(STDOUT_FILENO) == 1);
  if (options.as_json) {
    page.add((options.members_only ? json_text_of_members(*cluster) : json_text(*cluster)) + "\n");
  } else if (options.members_only) {
    print_members(*cluster, page);
  } else {
    print_state(is_mount ? options.mount : options.server.address, *cluster, page);
  }
  std::cout << page.text();
  return cluster->has_quorum() ? 0 : kFailed;
}

}  // namespace

std::string find_mount() {
  if (const char* named = std::getenv("ZABFS_MOUNT")) return named;
  std::ifstream in("/proc/self/mountinfo");
  std::string line;
  while (std::getline(in, line)) {
    if (line.find(" - fuse.zabfs ") == std::string::npos) continue;
    std::istringstream fields(line);
    std::string skipped, point;
    fields >> skipped >> skipped >> skipped >> skipped >> point;
    return point;
  }
  return {};
}

int status(StatusOptions options) {
  bool wants_mount = options.server.address.empty();
  if (wants_mount && options.mount.empty()) options.mount = find_mount();
  if (wants_mount && options.mount.empty()) {
    return fail(
        "no zabfs mount on this machine: no zabfsd runs here, or its zoo.cfg has no zabfs.mount. "
        "Name a server's clientPort instead: --server HOST:PORT. What a node waits for is in its "
        "log, too");
  }
  if (!wants_mount) {
    Status taken = options.server.take_credentials();
    if (!taken.ok()) return fail(taken.why());
  }
  if (!options.watch_s) return show(options);
  bool is_terminal = ::isatty(STDOUT_FILENO) == 1;
  while (true) {
    if (is_terminal) std::cout << "\x1b[H\x1b[2J";  // home, and clear
    show(options);
    if (!std::cout.flush()) return kFailed;  // nobody reads any more
    std::this_thread::sleep_for(std::chrono::duration<double>(*options.watch_s));
  }
}

}  // namespace zabfs::tool
