// The replica's part in bringing learners up to date (learner_supply.h): what it sends goes through
// there, and what can't be sent is a matter of its log and its snapshots.
#include <fmt/format.h>

#include <utility>

#include "consensus/replica.h"

namespace zabfs::consensus {

LearnerSupply::Outcomes Replica::supply_outcomes() {
  return {[this]() -> const History& { return zab_->state().history; },
          [this] { return snapshotter_.is_purging(); },
          [this](LinkId link, const std::string& reason) { cut_off(link, reason); },
          [this](const std::string& what) { recovery_.report_damage(what); },
          [this](Zxid through) {
            step(event::Purged{through});
            take_snapshot();
          },
          [this] { snapshotter_.want_again(); }};
}

// A receiver would close the link, be sent the same again, and close it again.
std::string Replica::encode(const Packet& packet) {
  std::string bytes;
  if (!is_sendable(packet.bytes().size(), packet.identities)) {
    environment_.die(fmt::format("{}: {} of {} bytes at 0x{:x} is more than a member takes",
                                 describe(), packet_name(packet.type), packet.bytes().size(),
                                 packet.zxid.value));
  }
  encode_packet(packet, bytes);
  return bytes;
}

void Replica::send_packet(LinkId link, const Packet& packet) { supply_.send(link, encode(packet)); }

void Replica::send_snapshot(const action::SendSnapshot& send) {
  // The log after an old snapshot is long: better a new one. It is of the tree as it is now, so all
  // that follows it is still behind it in the queue.
  bool is_old = snapshotter_.last() < zab_->state().diff_from;
  if (is_old) take_snapshot();
  supply_.send_snapshot(send, is_old && snapshotter_.is_busy());
}

void Replica::cut_off(LinkId link, const std::string& reason) {
  forget_link(link);
  transport_.close(link, reason);
  step(event::LinkDown{link});
}

}  // namespace zabfs::consensus
