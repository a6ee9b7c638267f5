// A request from a client or a learner, prepared by the leader. The first byte names its type.
#include "consensus/reconfig.h"
#include "tree/prepare.h"
#include "tree/request.h"
#include "tree/tree.h"

using namespace zabfs::tree;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static constexpr OpCode kTypes[] = {
      OpCode::kCreate,          OpCode::kDelete,    OpCode::kSetData,     OpCode::kSetAcl,
      OpCode::kCheck,           OpCode::kMulti,     OpCode::kCreate2,     OpCode::kCreateContainer,
      OpCode::kDeleteContainer, OpCode::kCreateTtl, OpCode::kExtWrite,    OpCode::kExtAppend,
      OpCode::kExtRename,       OpCode::kExtRemove, OpCode::kExtSetPosix, OpCode::kCloseSession,
      OpCode::kCreateSession,   OpCode::kReconfig};
  if (size == 0) return 0;
  std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  Tree tree;
  zabfs::consensus::Membership membership(*zabfs::consensus::parse_ensemble(
      "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=0"));
  PrepareOptions options;
  options.plan_reconfig = [&](std::string_view wanted, Zxid version) {
    return zabfs::consensus::plan_reconfig(membership, {}, {ServerId{1}, ServerId{2}, ServerId{3}},
                                           wanted, version);
  };
  Preparer preparer(tree, options);
  preparer.reset();
  Zxid zxid = Zxid::make(1, 1);
  auto run = [&](const Request& request) {
    for (PreparedTxn& prepared : preparer.prepare(request, zxid, 1'700'000'000'000)) {
      zxid = prepared.zxid.next();
      std::optional<Txn> txn = decode_txn(prepared.bytes);
      if (!txn) __builtin_trap();  // a leader never proposes what nobody can read
      tree.apply(*txn, nullptr);
      preparer.applied(prepared.zxid);
    }
  };
  run(superuser_request(SessionId{1}, 0, OpCode::kCreateSession, create_session_body(5'000)));
  run(superuser_request(SessionId{1}, 1, OpCode::kCreate,
                        create_body("/a", "x", open_acl(), kCreatePersistent)));
  run(superuser_request(SessionId{1}, 2, kTypes[data[0] % std::size(kTypes)], body));
  return 0;
}
