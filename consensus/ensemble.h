// Who the members are: the configuration that quorums are counted in.
//
// The text form travels in NEWLEADER and in election notifications (zookeeper-formats.md 4.5).
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <variant>

#include "tree/types.h"

namespace zabfs::consensus {

using tree::ServerId;
using tree::SessionId;
using tree::Zxid;

inline constexpr size_t kMaxMembers = 255;

// A node without a vote connects to its leader under an id that no member has: Java counts
// FOLLOWERINFO and NEWLEADER's ACK by id, even an observer's (ZAB.md section 3).
inline constexpr int64_t kWithoutVote = int64_t{1} << 20;
inline ServerId without_vote(ServerId member) { return ServerId{member.value + kWithoutVote}; }
inline ServerId member_of(ServerId id) {
  return id.value > kWithoutVote ? ServerId{id.value - kWithoutVote} : id;
}

struct Member {
  std::string host;
  uint16_t quorum_port = 0;
  uint16_t election_port = 0;
  bool observer = false;
  std::string client_address;  // "host:port", or empty
};

class Ensemble {
 public:
  Ensemble() = default;
  explicit Ensemble(std::map<ServerId, Member> members, int64_t version = 0);

  const std::map<ServerId, Member>& members() const { return members_; }
  const Member* find(ServerId id) const;
  bool is_voter(ServerId id) const;
  size_t voter_count() const { return voter_count_; }
  int64_t version() const { return version_; }
  // Whether `ids` holds a majority of the voters; others in it don't count.
  bool is_quorum(const std::set<ServerId>& ids) const;
  // The largest zxid that a quorum has reached, given each one's.
  Zxid quorum_zxid(const std::map<ServerId, Zxid>& reached) const;
  std::string text() const;
  std::string voter_names() const;  // "1 2 3"

 private:
  std::map<ServerId, Member> members_;
  size_t voter_count_ = 0;
  int64_t version_ = 0;
};

// Parses `host:quorumPort:electionPort[:role][;[clientHost:]clientPort]`, IPv6 hosts in []. On
// failure the text says what is wrong.
struct MemberError {
  std::string what;
};
std::variant<Member, MemberError> parse_member(std::string_view text);

// The inverse of Ensemble::text. nullopt: it is not one, or has what is not known here (groups,
// weights).
std::optional<Ensemble> parse_ensemble(std::string_view text);
// "server.N".
std::optional<ServerId> parse_server_key(std::string_view key);
// The version at its end, 0 if there is none.
int64_t version_in(std::string_view text);

}  // namespace zabfs::consensus
