// What a peer sends on a learner link: packets, and the snapshot behind SNAP. The first byte says
// in how large pieces it arrives.
#include <algorithm>

#include "consensus/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  size_t piece = size_t{data[0]} + 1;
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  zabfs::consensus::LinkReader reader;
  zabfs::consensus::LinkReader::Handlers handlers;
  handlers.packet = [](const zabfs::consensus::Packet& packet) {
    static_cast<void>(zabfs::consensus::decode_learner_info(packet.bytes()));
    static_cast<void>(zabfs::consensus::decode_leader_info(packet.bytes()));
  };
  handlers.snapshot = [](std::unique_ptr<zabfs::tree::Tree>) {};
  while (!rest.empty()) {
    std::string_view now = rest.substr(0, piece);
    rest.remove_prefix(now.size());
    if (!reader.feed(now, handlers).ok()) break;
  }
  return 0;
}
