// What a ZooKeeper client sends: its hello, and the requests that the tree answers. The first byte
// says which; also SASL's answers and the text of quotas.
#include <map>

#include "fsd/wire/messages.h"
#include "fsd/wire/reads.h"
#include "fsd/wire/sasl.h"
#include "tree/quota.h"

using namespace zabfs;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static constexpr tree::OpCode kReads[] = {
      tree::OpCode::kExists,        tree::OpCode::kGetData,
      tree::OpCode::kGetAcl,        tree::OpCode::kGetChildren,
      tree::OpCode::kGetChildren2,  tree::OpCode::kPing,
      tree::OpCode::kMultiRead,     tree::OpCode::kCheckWatches,
      tree::OpCode::kRemoveWatches, tree::OpCode::kSetWatches,
      tree::OpCode::kSetWatches2,   tree::OpCode::kAddWatch,
      tree::OpCode::kGetEphemerals, tree::OpCode::kGetAllChildrenNumber,
      tree::OpCode::kWhoAmI};
  if (size == 0) return 0;
  std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  size_t which = data[0] % (std::size(kReads) + 3);
  if (which == std::size(kReads)) {
    static_cast<void>(fsd::wire::decode_connect_request(body));
  } else if (which == std::size(kReads) + 1) {
    std::map<std::string, std::string> users{{"u", "p"}};
    if (fsd::wire::DigestMd5(users, "nonce").respond(body)) __builtin_trap();
  } else if (which == std::size(kReads) + 2) {
    tree::QuotaTrack track = tree::QuotaTrack::parse(body);
    tree::QuotaTrack again = tree::QuotaTrack::parse(track.text());
    if (again.count != track.count || again.bytes != track.bytes) __builtin_trap();
  } else {
    tree::Tree tree;
    fsd::wire::WatchBoard watches;
    std::string answer;
    fsd::wire::append_answer({tree, watches, 1, tree::SessionId{1}, {{"ip", "127.0.0.1"}}, false},
                             1, kReads[which], body, answer);
    tree::jute::Reader in(answer);
    while (!in.at_end()) in.string();  // whole frames
    if (!in.ok()) __builtin_trap();
  }
  return 0;
}
