// The mending of a damaged log with what other members have: who is asked for which txns, and what
// has come by now (ZAB.md section 3.6, the first way).
//
// A damaged log names the ranges of zxids that it lacks. Any member may have them, and members may
// each have a part. So this node asks one after the other, in the order of their numbers, and
// begins again behind the last. One question takes these steps:
//   ask_next    the member to dial
//   question    the link is up: the ranges that nobody has sent yet
//   take        each PROPOSAL is one of the txns, FETCHTXNS says that this was all
// `take` says what follows. Example of a log that lacks (1,3) to (1,9), with servers 2 and 3:
//   1. Server 2 is dialled. It sends (1,3) to (1,6), which is as much as it sends at once:
//   kAskAgain.
//   2. On the same link it sends nothing more. It does not serve as long as there is no leader:
//      kWait. After kPauseMs server 3 is dialled.
//   3. Server 3 sends (1,7) to (1,9): kComplete.
//
// This node gives up (kGiveUp) when a member lacks something and that member serves. There is a
// leader then, and this node can do without its vote. Without a leader it holds on to what it has
// until all others have said that they lack something.
//
// A Java server does not know the question, and ends the link without a word. So does a network
// that breaks a zabfs server's link, and that must not end the mending: the two damaged logs of an
// ensemble may each be all that the other one can be mended with. So a member that has ended a link
// like that, and has never answered, is next asked whether it leads (asks_whether_it_leads), which
// both kinds understand: LEADERINFO of a Java server says that this node can do without its vote.
//
// A node that knows of no other member asks nobody, and gives up nothing.
//
// Limits: a question names at most kMaxFetchRanges ranges. All that was found is in memory.
//
// Threading: an object of the strand. Pure: it sends nothing, and time is an argument.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "consensus/log.h"
#include "consensus/messages.h"

namespace zabfs::consensus {

class Mending {
 public:
  static constexpr int64_t kPauseMs = 300;  // between one member that could not help and the next
  static constexpr int64_t kAnswerMs = 5'000;  // after that the next member is asked

  enum class Next {
    kMore,      // the answer goes on
    kAskAgain,  // the same member has more: `question` again
    kWait,      // for `next_step_ms`; the link is over
    kComplete,  // all is there; the link is over
    kGiveUp,    // it will not be; the link is over
  };

  explicit Mending(std::vector<Log::Range> missing) : missing_(std::move(missing)) {}

  // The member to dial now, by `link`. nullopt: there is none. `others` is without this node.
  std::optional<ServerId> ask_next(const std::set<ServerId>& others, LinkId link, int64_t now_ms);
  // By which a member is being asked; 0: none is.
  LinkId link() const { return link_; }
  ServerId member() const { return member_; }
  // When the next member is to be asked, if nothing happens before.
  int64_t next_step_ms() const { return next_step_ms_; }
  // What no member has sent yet.
  std::vector<Log::Range> still_missing() const;
  // As much of it as a question may name.
  std::vector<Log::Range> question();
  // The member is to be asked by OBSERVERINFO now, and by `question` the next time.
  bool asks_whether_it_leads();
  // What came by the link.
  Next take(const Packet& packet, size_t others, int64_t now_ms);
  void link_down(int64_t now_ms);

  const std::map<Zxid, Payload>& found() const { return found_; }
  // All is there, and does not fit on the disk: what follows is to be tried again then.
  void wait_for_room(int64_t until_ms);
  bool lacks_room() const { return lacks_room_; }

 private:
  bool is_missing(Zxid zxid) const;

  const std::vector<Log::Range> missing_;
  std::map<Zxid, Payload> found_;
  size_t had_ = 0;  // found, when the last question was asked
  ServerId member_;
  LinkId link_ = 0;
  std::set<ServerId> refused_;  // don't have them all
  bool is_asked_ = false;       // by the link, and nothing has come
  std::set<ServerId> have_answered_;
  std::set<ServerId> silent_;  // have ended the link that `question` went by, and never answered
  int64_t next_step_ms_ = 0;
  bool lacks_room_ = false;
};

}  // namespace zabfs::consensus
