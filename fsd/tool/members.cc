// zabfs members add, remove, promote, demote: reconfigurations, by `@/members` of a mount.
//
// A new member observes first, and votes once it has what the others have: a voter that is still
// being filled counts for the quorum, and can't help to reach it.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <map>
#include <sstream>
#include <thread>
#include <utility>

#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(200);
constexpr const char* kObserver = ":observer";
constexpr const char* kParticipant = ":participant";

std::string reason_of(int error) {
  switch (error) {
    case EPERM:
    case EACCES:
      return "only root may change the members";
    case EOPNOTSUPP:
      return "set reconfigEnabled=true in every zoo.cfg, and start the nodes again one by one";
    case EINVAL:
      return "ADDRESS is HOST:QUORUMPORT:ELECTIONPORT[;CLIENTPORT], no two members may share an "
             "address, and at least two must vote";
    case EBUSY:
      return "too few of the new members are in sync with the leader to be a quorum. Start those "
             "that are down, or remove the members that are lost first";
    case EAGAIN:
      return "another change of the members is under way; try again";
    case ESTALE:
      return "somebody else has changed the members; try again";
    case EROFS:
      return "there is no quorum. If a majority of the servers is lost for good, see zabfsd "
             "--force-new-ensemble";
    default:
      return std::strerror(error);
  }
}

bool observes(const std::string& address) {
  return address.substr(0, address.find(';')).ends_with(kObserver);
}

// What `@/members` says: `server.N=...`, groups and weights, and the version.
class Configuration {
 public:
  static std::optional<Configuration> read(const std::string& mount) {
    std::optional<std::string> text = read_file(join(mount, "@/members"));
    if (!text) return std::nullopt;
    Configuration read;
    std::istringstream lines(*text);
    for (std::string line; std::getline(lines, line);) {
      size_t equals = line.find('=');
      if (equals == std::string::npos) continue;
      read.values_[line.substr(0, equals)] = line.substr(equals + 1);
    }
    return read;
  }

  // Gives errno.
  int commit(const std::string& mount) const {
    int fd = ::open(join(mount, "@/members").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
    if (fd < 0) return errno;
    std::string text;
    for (const auto& [key, value] : values_) text += key + "=" + value + "\n";
    int error = write_all(fd, text) ? 0 : errno;
    if (::close(fd) != 0 && error == 0) error = errno;
    return error;
  }

  std::string member(int64_t id) const {
    auto found = values_.find(key_of(id));
    return found == values_.end() ? std::string() : found->second;
  }
  void set(int64_t id, const std::string& address) { values_[key_of(id)] = address; }
  void remove(int64_t id) { values_.erase(key_of(id)); }
  size_t voters() const {
    return static_cast<size_t>(std::count_if(values_.begin(), values_.end(), [](const auto& line) {
      return line.first.starts_with("server.") && !observes(line.second);
    }));
  }
  bool has_groups() const {
    auto first = values_.lower_bound("group.");
    return first != values_.end() && first->first.starts_with("group.");
  }

 private:
  static std::string key_of(int64_t id) { return fmt::format("server.{}", id); }
  std::map<std::string, std::string> values_;
};

// `host:1:2[:role][;client]` with that role.
std::string with_role(const std::string& address, const char* role) {
  std::string servers = address.substr(0, address.find(';'));
  std::string client = address.substr(servers.size());
  for (const char* known : {kObserver, kParticipant}) {
    if (servers.ends_with(known)) servers.resize(servers.size() - std::strlen(known));
  }
  return servers + role + client;
}

// A member as `@/cluster` shows it, and what this node has.
struct Progress {
  std::string role = "looking";
  uint64_t zxid = 0;
  uint64_t zxid_here = 0;
};

uint64_t zxid_of(const std::string& text) {
  uint64_t zxid = 0;
  if (text.starts_with("0x")) std::from_chars(text.data() + 2, text.data() + text.size(), zxid, 16);
  return zxid;
}

Progress progress_of(const std::string& mount, int64_t id) {
  Progress progress;
  std::istringstream lines(read_file(join(mount, "@/cluster")).value_or(""));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name, number, address, role, word, zxid;
    fields >> name >> number;
    if (name == "zxid") progress.zxid_here = zxid_of(number);
    if (name != "member" || number != std::to_string(id)) continue;
    fields >> address >> role >> word >> zxid;
    progress.role = role;
    progress.zxid = zxid_of(zxid);
  }
  return progress;
}

// Until the member has what this node has now, or the time is over.
bool wait_until_in_sync(const MembersOptions& options) {
  uint64_t wanted = progress_of(options.mount, options.id).zxid_here;
  int64_t end_ms = now_ms() + static_cast<int64_t>(options.timeout_s * 1000);
  std::string told;
  while (true) {
    Progress progress = progress_of(options.mount, options.id);
    bool is_there = progress.role != "looking";
    if (is_there && progress.zxid >= wanted) return true;
    std::string news = is_there ? fmt::format("has 0x{:x} of 0x{:x}", progress.zxid, wanted)
                                : "does not follow yet; is its zabfsd running?";
    if (news != told) fmt::print(stderr, "zabfs: member {} {}\n", options.id, news);
    told = news;
    if (now_ms() >= end_ms) return false;
    std::this_thread::sleep_for(kLookEvery);
  }
}

int refused(int error) {
  return fail(fmt::format("the members stay as they are: {}", reason_of(error)));
}

int commit(const Configuration& configuration, const MembersOptions& options,
           const std::string& done) {
  if (int error = configuration.commit(options.mount); error != 0) return refused(error);
  fmt::print("{}\n", done);
  return 0;
}

// It is to vote, by what is committed. A server that began empty does so a while later (initLimit):
// it might have promised something before.
int wait_for_vote(const MembersOptions& options) {
  int64_t end_ms = now_ms() + static_cast<int64_t>(options.timeout_s * 1000);
  bool told = false;
  while (true) {
    std::string role = progress_of(options.mount, options.id).role;
    if (role == "follower" || role == "leader") break;
    if (now_ms() >= end_ms) {
      return fail(
          fmt::format("member {} is to vote, and does not yet: it is {}", options.id, role));
    }
    if (!std::exchange(told, true)) {
      fmt::print(stderr, "zabfs: member {} is to vote; waits until it does\n", options.id);
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  fmt::print("member {} votes\n", options.id);
  return 0;
}

int make_voter(const MembersOptions& options) {
  if (!wait_until_in_sync(options)) {
    return fail(
        fmt::format("member {0} observes, but does not have yet what the others have. It votes "
                    "after `zabfs members promote {0}`",
                    options.id));
  }
  std::optional<Configuration> now = Configuration::read(options.mount);
  if (!now) return fail(error_of(join(options.mount, "@/members")));
  now->set(options.id, with_role(now->member(options.id), kParticipant));
  if (int error = now->commit(options.mount); error != 0) return refused(error);
  return wait_for_vote(options);
}

// Beside the only voter: both are the quorum then. The leader refuses it until the new one is in
// sync.
int add_second_voter(Configuration now, const MembersOptions& options) {
  now.set(options.id, with_role(options.address, kParticipant));
  int64_t end_ms = now_ms() + static_cast<int64_t>(options.timeout_s * 1000);
  int error = now.commit(options.mount);
  if (error == EBUSY) fmt::print(stderr, "zabfs: waits until server {} is in sync\n", options.id);
  while (error == EBUSY && now_ms() < end_ms) {
    std::this_thread::sleep_for(kLookEvery);
    error = now.commit(options.mount);
  }
  if (error == EBUSY) {
    return fail(fmt::format("server {} is not in sync; is its zabfsd running?", options.id));
  }
  return error == 0 ? wait_for_vote(options) : refused(error);
}

int add(Configuration now, const MembersOptions& options) {
  if (!now.member(options.id).empty()) {
    return fail(fmt::format("{} is a member already: {}", options.id, now.member(options.id)));
  }
  bool is_to_vote = !observes(options.address);
  if (is_to_vote && now.voters() == 1) return add_second_voter(std::move(now), options);
  now.set(options.id, with_role(options.address, kObserver));
  int code = commit(now, options, fmt::format("member {} observes", options.id));
  return code != 0 || !is_to_vote ? code : make_voter(options);
}

}  // namespace

int change_members(MembersOptions options) {
  if (options.mount.empty()) options.mount = find_mount();
  if (options.mount.empty()) return fail("no zabfs mount on this machine; name one by --mount");
  std::optional<Configuration> now = Configuration::read(options.mount);
  if (!now) return fail(error_of(join(options.mount, "@/members")));
  if (now->has_groups()) {
    return fail(fmt::format("there are groups: say in which a member is by editing {}",
                            join(options.mount, "@/members")));
  }
  if (options.change == MembersOptions::Change::kAdd) return add(*now, options);
  std::string address = now->member(options.id);
  if (address.empty()) return fail(fmt::format("no member is {}", options.id));
  if (options.change == MembersOptions::Change::kPromote) {
    if (!observes(address)) return fail(fmt::format("member {} votes already", options.id));
    return make_voter(options);
  }
  if (options.change == MembersOptions::Change::kDemote) {
    now->set(options.id, with_role(address, kObserver));
    return commit(*now, options, fmt::format("member {} observes", options.id));
  }
  now->remove(options.id);
  return commit(*now, options,
                fmt::format("{} is no member any more; stop its zabfsd", options.id));
}

}  // namespace zabfs::tool
