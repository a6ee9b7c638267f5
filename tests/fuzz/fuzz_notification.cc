// What a peer sends on the election port, to a node that is looking for a leader.
#include "consensus/messages.h"
#include "consensus/zab.h"

using namespace zabfs::consensus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view bytes(reinterpret_cast<const char*>(data), size);
  std::optional<Notification> notification = decode_notification(bytes);
  if (!notification) return 0;
  std::map<ServerId, Member> members;
  for (int64_t i = 1; i <= 3; ++i) members[ServerId{i}] = Member{"h", 1, 2, false, ""};
  ZabConfig config;
  config.me = ServerId{1};
  config.ensemble = Ensemble(members);
  ZabState state;
  state.membership = Membership(config.ensemble);
  Zab zab(config, state);
  Actions actions;
  zab.start(1'000, actions);
  for (int64_t from : {2, 3, 7}) {
    zab.step(1'001, event::VoteReceived{ServerId{from}, *notification}, actions);
  }
  return 0;
}
