// Drives one Zab core by hand: events in, actions out, no other node needed.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "consensus/zab.h"

namespace zabfs::consensus {

class ZabFixture : public testing::Test {
 public:
  static ZabConfig config(int64_t me, int64_t voters = 3) {
    std::map<ServerId, Member> members;
    for (int64_t i = 1; i <= voters; ++i) members[ServerId{i}] = Member{"h", 1, 2, false, ""};
    ZabConfig config;
    config.me = ServerId{me};
    config.ensemble = Ensemble(members);
    config.tick_ms = 1'000;
    return config;
  }

 protected:
  // All in one group, the first voter without weight.
  static ZabConfig config_with_weights(int64_t me, int64_t voters = 3) {
    ZabConfig with = config(me, voters);
    std::string text = with.ensemble.text();
    std::string group = "group.1=1";
    for (int64_t i = 2; i <= voters; ++i) group += ":" + std::to_string(i);
    with.ensemble = *parse_ensemble(text.insert(text.find("version="), group + "\nweight.1=0\n"));
    return with;
  }
  static ZabState state_with(uint32_t epoch, uint32_t txns) {
    ZabState state;
    for (uint32_t i = 1; i <= txns; ++i) state.history.append(Zxid::make(epoch, i));
    state.durable = state.history.last();
    state.current_epoch = state.accepted_epoch = epoch;
    return state;
  }

  void make(ZabConfig config, ZabState state) {
    state.membership = Membership(config.ensemble);
    zab_.emplace(std::move(config), std::move(state));
    actions_.clear();
    zab_->start(now_ms_, actions_);
  }
  void step(const Event& event) {
    actions_.clear();
    zab_->step(now_ms_, event, actions_);
  }
  void receive(LinkId link, Packet packet) { step(event::PacketReceived{link, std::move(packet)}); }
  void vote(int64_t from, PeerState state, Vote vote, int64_t round) {
    step(event::VoteReceived{ServerId{from}, Notification{state, vote, round, "", ""}});
  }
  template <class A>
  std::vector<A> all() const {
    std::vector<A> found;
    for (const Action& action : actions_) {
      if (const A* match = std::get_if<A>(&action)) found.push_back(*match);
    }
    return found;
  }
  // Types of the packets sent by the last step, as text.
  std::string sent() const {
    std::string text;
    for (const auto& send : all<action::Send>()) {
      if (!text.empty()) text += " ";
      text += packet_name(send.packet.type);
    }
    return text;
  }
  static std::string ack_epoch_data(int32_t epoch) {
    std::string data;
    tree::jute::Writer(data).i32(epoch);
    return data;
  }
  static Packet info(int64_t id, uint32_t accepted, bool is_zabfs = true) {
    std::string data = encode_learner_info({ServerId{id}, 0, true});
    if (!is_zabfs) data.resize(20);  // its number, its protocol's version, its configuration's
    return Packet(PacketType::kFollowerInfo, Zxid::make(accepted, 0), std::move(data));
  }
  // LEADERINFO's data of a Java leader: its protocol's version.
  static std::string java_leader_info() {
    std::string data;
    tree::jute::Writer(data).i32(0x10000);
    return data;
  }

  std::optional<Zab> zab_;
  Actions actions_;
  int64_t now_ms_ = 10'000;
};

}  // namespace zabfs::consensus
