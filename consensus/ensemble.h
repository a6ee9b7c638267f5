// Who the members are: the configuration that quorums are counted in.
//
// Quorums are majorities of the voters, or hierarchical where groups are configured (Java:
// QuorumHierarchical): in each of a majority of the groups a majority of the weight. A group
// without weight does not count. A voter without weight counts for nothing, and never leads.
//
// The text form travels in NEWLEADER and in election notifications (FORMATS.md 4.5).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tree/status.h"
#include "tree/types.h"

namespace zabfs::consensus {

using tree::ServerId;
using tree::SessionId;
using tree::Zxid;

inline constexpr size_t kMaxMembers = 255;

// A node without a vote connects to its leader under an id that no member has: Java counts
// FOLLOWERINFO and NEWLEADER's ACK by id, even an observer's (ZAB.md section 3).
inline constexpr int64_t kWithoutVote = int64_t{1} << 48;
inline ServerId without_vote(ServerId member) { return ServerId{member.value + kWithoutVote}; }
inline ServerId member_of(ServerId id) {
  return id.value >= kWithoutVote ? ServerId{id.value - kWithoutVote} : id;
}

struct Member {
  std::string host;
  uint16_t quorum_port = 0;
  uint16_t election_port = 0;
  bool observer = false;
  std::string client_address;     // "host:port", or empty
  std::string other_addresses{};  // "|host:port:port" of each; nobody here dials them
};

// What is wrong with a configuration, and the key that it is wrong at.
struct EnsembleError {
  std::string key, what;
};

// The lines `group.N=1:2:3` and `weight.N=W`.
class Hierarchy {
 public:
  static constexpr int64_t kMaxWeight = 1'000'000'000;  // the sum of all fits

  // Whether the line of that key is to be given to `take`, for better or worse.
  static bool is_key(std::string_view key);
  // Fails if something is wrong with the line.
  Status take(std::string_view key, std::string_view value);
  // What only all lines together say; gives a voter without a weight of its own the weight 1.
  std::optional<EnsembleError> complete(const std::map<ServerId, Member>& members);

  bool is_empty() const { return groups_.empty() && weights_.empty(); }
  const std::map<ServerId, int64_t>& groups() const { return groups_; }
  int64_t weight(ServerId id) const;
  std::string text() const;

 private:
  std::map<ServerId, int64_t> groups_;  // the group of each server
  std::map<ServerId, int64_t> weights_;
};

class Ensemble {
 public:
  Ensemble() = default;
  // `hierarchy` is complete for these members.
  explicit Ensemble(std::map<ServerId, Member> members, int64_t version = 0,
                    Hierarchy hierarchy = {});

  const std::map<ServerId, Member>& members() const { return members_; }
  const Member* find(ServerId id) const;
  bool is_voter(ServerId id) const;
  size_t voter_count() const { return votes_.size(); }
  int64_t version() const { return version_; }
  const Hierarchy& hierarchy() const { return hierarchy_; }
  // 1 for every voter where there are no groups; 0 for who is no voter.
  int64_t weight(ServerId id) const;
  // Whether all voters together are one.
  bool can_have_quorum() const;
  // Others than voters in `ids` don't count.
  bool is_quorum(const std::set<ServerId>& ids) const;
  // How many of `ids`, whoever they are, may be lost and a quorum is left. None: there is none now.
  std::optional<size_t> may_lose(const std::set<ServerId>& ids) const;
  // The largest zxid that a quorum has reached, given each one's.
  Zxid quorum_zxid(const std::map<ServerId, Zxid>& reached) const;
  std::string text() const;
  std::string voter_names() const;  // "1 2 3"
  // Gives members whose address is a wildcard (a Java leader may have committed that) the one that
  // is known from before.
  void fill_in(const std::map<ServerId, Member>& known);

 private:
  struct Vote {
    size_t group;
    int64_t weight;
  };
  class Tally;  // counts voters, one by one, until they are a quorum

  std::map<ServerId, Member> members_;
  Hierarchy hierarchy_;
  std::map<ServerId, Vote> votes_;      // of voters
  std::vector<int64_t> group_weights_;  // a majority of voters is the quorum of one group
  size_t counted_groups_ = 0;           // those with weight
  int64_t version_ = 0;
};

// Parses `host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`, IPv6 hosts in []. Of
// several addresses, `host:port:port[:role]|host:port:port[:role]`, the first is the member's, and
// the others are kept for servers of Java's. On failure the text says what is wrong.
struct MemberError {
  std::string what;
};
std::variant<Member, MemberError> parse_member(std::string_view text);
// 0.0.0.0, [::] and their other spellings: a server listens there, and nobody can dial it.
bool is_wildcard(const std::string& host);
// The host without [], and empty if it is a wildcard, as for who is to listen on all addresses.
std::string host_to_listen_on(const std::string& host);

// The inverse of Ensemble::text. It is an error to have what is not known here: nobody could say
// what a quorum of it is.
std::variant<Ensemble, EnsembleError> read_ensemble(std::string_view text);
std::optional<Ensemble> parse_ensemble(std::string_view text);
// "server.N" and "weight.N".
std::optional<ServerId> parse_server_key(std::string_view key);
std::optional<ServerId> parse_weight_key(std::string_view key);
// Two members whose sessions nobody could tell apart (tree::server_byte), such as 0 and 254.
std::optional<std::pair<ServerId, ServerId>> find_shared_byte(
    const std::map<ServerId, Member>& members);
// The version at its end, 0 if there is none.
int64_t version_in(std::string_view text);

}  // namespace zabfs::consensus
