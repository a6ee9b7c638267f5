// zabfs members add, remove, promote, demote: reconfigurations, by `@/members` of a mount, or by a
// server (members_door.h).
//
// A new member observes first, and votes once it has what the others have: a voter that is still
// being filled counts for the quorum, and can't help to reach it.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <thread>
#include <utility>

#include "fsd/tool/members_door.h"
#include "fsd/tool/tool.h"

namespace zabfs::tool {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(200);
constexpr int kCommitTries = 10;
constexpr const char* kObserver = ":observer";
constexpr const char* kParticipant = ":participant";

std::string reason_of(int error, const MembersDoor& door) {
  switch (error) {
    case EPERM:
    case EACCES:
      return door.permission_hint();
    case ECONNRESET:
      return "the connection was lost, and the change may have been made; see `zabfs members`";
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
  static StatusOr<Configuration> read(MembersDoor& door) {
    StatusOr<std::string> text = door.configuration();
    if (!text.ok()) return text.status();
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
  int commit(MembersDoor& door) const {
    std::string text;
    for (const auto& [key, value] : values_) text += key + "=" + value + "\n";
    // EBUSY: so many of the new members as are needed have not answered for a moment.
    for (int tries = 1;; ++tries) {
      int error = door.reconfigure(text);
      if (error != EBUSY || tries == kCommitTries) return error;
      std::this_thread::sleep_for(kLookEvery);
    }
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

// A member as the node that is asked sees it, and what that node has.
struct JoinProgress {
  std::string role = "looking";
  uint64_t zxid = 0;
  uint64_t zxid_here = 0;
  std::string why;  // nobody reaches it
};

JoinProgress progress_of(MembersDoor& door, int64_t id) {
  JoinProgress progress;
  StatusOr<Cluster> cluster = door.cluster();
  if (!cluster.ok()) return progress;
  progress.zxid_here = zxid_of(cluster->value("zxid"));
  const ClusterMember* member = cluster->find(std::to_string(id));
  if (member == nullptr) return progress;
  progress.role = member->role;
  progress.zxid = zxid_of(member->fact("zxid"));
  progress.why = member->unreachable;
  return progress;
}

// Until the member has what this node has now, or the time is over.
bool wait_until_in_sync(MembersDoor& door, const MembersOptions& options) {
  uint64_t wanted = progress_of(door, options.id).zxid_here;
  int64_t end_ms = now_ms() + static_cast<int64_t>(options.timeout_s * 1000);
  std::string told;
  while (true) {
    JoinProgress progress = progress_of(door, options.id);
    bool is_there = progress.role != "looking";
    if (is_there && progress.zxid >= wanted) return true;
    std::string news = is_there ? fmt::format("has 0x{:x} of 0x{:x}", progress.zxid, wanted)
                                : "does not follow yet; is its zabfsd running?";
    if (!is_there && !progress.why.empty()) news = "can't be reached: " + progress.why;
    if (news != told) fmt::print(stderr, "zabfs: member {} {}\n", options.id, news);
    told = news;
    if (now_ms() >= end_ms) return false;
    std::this_thread::sleep_for(kLookEvery);
  }
}

int refused(int error, const MembersDoor& door) {
  return fail(fmt::format("the members stay as they are: {}", reason_of(error, door)));
}

int commit(const Configuration& configuration, MembersDoor& door, const std::string& done) {
  if (int error = configuration.commit(door); error != 0) return refused(error, door);
  fmt::print("{}\n", done);
  return 0;
}

// It is to vote, by what is committed. A server that began empty does so a while later (initLimit):
// it might have promised something before.
int wait_for_vote(MembersDoor& door, const MembersOptions& options) {
  int64_t end_ms = now_ms() + static_cast<int64_t>(options.timeout_s * 1000);
  bool told = false;
  while (true) {
    std::string role = progress_of(door, options.id).role;
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

int make_voter(MembersDoor& door, const MembersOptions& options) {
  if (!wait_until_in_sync(door, options)) {
    return fail(
        fmt::format("member {0} observes, but does not have yet what the others have. It votes "
                    "after `zabfs members promote {0}`",
                    options.id));
  }
  StatusOr<Configuration> now = Configuration::read(door);
  if (!now.ok()) return fail(now.why());
  now->set(options.id, with_role(now->member(options.id), kParticipant));
  if (int error = now->commit(door); error != 0) return refused(error, door);
  return wait_for_vote(door, options);
}

// Beside the only voter: both are the quorum then. The leader refuses it until the new one is in
// sync.
int add_second_voter(Configuration now, MembersDoor& door, const MembersOptions& options) {
  now.set(options.id, with_role(options.address, kParticipant));
  int64_t end_ms = now_ms() + static_cast<int64_t>(options.timeout_s * 1000);
  int error = now.commit(door);
  if (error == EBUSY) fmt::print(stderr, "zabfs: waits until server {} is in sync\n", options.id);
  while (error == EBUSY && now_ms() < end_ms) {
    std::this_thread::sleep_for(kLookEvery);
    error = now.commit(door);
  }
  if (error == EBUSY) {
    return fail(fmt::format("server {} is not in sync; is its zabfsd running?", options.id));
  }
  return error == 0 ? wait_for_vote(door, options) : refused(error, door);
}

int add(Configuration now, MembersDoor& door, const MembersOptions& options) {
  if (!now.member(options.id).empty()) {
    return fail(fmt::format("{} is a member already: {}", options.id, now.member(options.id)));
  }
  bool is_to_vote = !observes(options.address);
  if (is_to_vote && now.voters() == 1) return add_second_voter(std::move(now), door, options);
  now.set(options.id, with_role(options.address, kObserver));
  int code = commit(now, door, fmt::format("member {} observes", options.id));
  return code != 0 || !is_to_vote ? code : make_voter(door, options);
}

}  // namespace

int change_members(const MembersOptions& options) {
  StatusOr<std::unique_ptr<MembersDoor>> opened = open_members(options.mount, options.server);
  if (!opened.ok()) return fail(opened.why());
  MembersDoor& door = **opened;
  StatusOr<Configuration> now = Configuration::read(door);
  if (!now.ok()) return fail(now.why());
  if (now->has_groups()) {
    return fail("there are groups: say in which a member is by editing @/members of a mount");
  }
  if (options.change == MembersOptions::Change::kAdd) return add(*now, door, options);
  std::string address = now->member(options.id);
  if (address.empty()) return fail(fmt::format("no member is {}", options.id));
  if (options.change == MembersOptions::Change::kPromote) {
    if (!observes(address)) return fail(fmt::format("member {} votes already", options.id));
    return make_voter(door, options);
  }
  if (options.change == MembersOptions::Change::kDemote) {
    now->set(options.id, with_role(address, kObserver));
    return commit(*now, door, fmt::format("member {} observes", options.id));
  }
  now->remove(options.id);
  return commit(*now, door, fmt::format("{} is no member any more; stop its zabfsd", options.id));
}

}  // namespace zabfs::tool
