// A request from a client or a learner, prepared by the leader. The first byte names its type and
// who sends it: the superuser, a user of the Unix-domain socket, or somebody else.
#include <map>

#include "consensus/reconfig.h"
#include "tree/access.h"
#include "tree/path.h"
#include "tree/prepare.h"
#include "tree/request.h"
#include "tree/tree.h"

using namespace zabfs::tree;

namespace {

constexpr uint32_t kUser = 1'000, kGroup = 2'000, kHandedDown = 3'000;

using Entries = std::map<std::string, PosixEntry>;

void find_entries(const Tree& tree, const ZNode& node, Entries& entries) {
  const AclList& acl = tree.acl_of(node);
  if (!is_valid_posix(acl)) __builtin_trap();
  if (std::optional<PosixEntry> posix = find_posix(acl)) {
    bool is_too_long = node.data.size() > kMaxTargetBytes;
    if (posix->kind == Kind::kSymlink && is_too_long) __builtin_trap();
    posix->mode &= ~(kOthersRead | kOthersWrite);
    entries.emplace(tree.path_of(node), *posix);
  }
  tree.for_each_child(node, [&](const ZNode& child) { find_entries(tree, child, entries); });
}

// What was not there before is the user's own, as far as its group goes.
void check_new(const Entries& before, const Entries& after, const Identities& who) {
  if (is_superuser(who)) return;
  for (const auto& [path, posix] : after) {
    auto old = before.find(path);
    if (old != before.end() && old->second == posix) continue;
    if (!user_of(who) || posix.uid != kUser) __builtin_trap();
    bool is_handed_down = parent_path(path) == "/s" && posix.gid == kHandedDown;
    if (posix.gid != kUser && posix.gid != kGroup && !is_handed_down) __builtin_trap();
    if (old != before.end() && old->second.uid != kUser) __builtin_trap();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static constexpr OpCode kTypes[] = {
      OpCode::kCreate,          OpCode::kDelete,    OpCode::kSetData,     OpCode::kSetAcl,
      OpCode::kCheck,           OpCode::kMulti,     OpCode::kCreate2,     OpCode::kCreateContainer,
      OpCode::kDeleteContainer, OpCode::kCreateTtl, OpCode::kExtWrite,    OpCode::kExtAppend,
      OpCode::kExtRename,       OpCode::kExtRemove, OpCode::kExtSetPosix, OpCode::kCloseSession,
      OpCode::kCreateSession,   OpCode::kReconfig};
  static const Identities kWho[] = {
      superuser(), identities_of(User{kUser, {kUser, kGroup}}), {{"ip", "127.0.0.1"}}};
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
  int32_t cxid = 0;
  auto make = [&](const char* path, const AclList& acl) {
    run(superuser_request(SessionId{1}, ++cxid, OpCode::kCreate,
                          create_body(path, "x", acl, kCreatePersistent)));
  };
  run(superuser_request(SessionId{1}, 0, OpCode::kCreateSession, create_session_body(5'000)));
  make("/a", open_acl());
  make("/u", with_posix(open_acl(), PosixEntry{Kind::kFile, 0666, kUser, kGroup, {}, 0}));
  make("/v", with_posix(open_acl(), PosixEntry{Kind::kSymlink, 0666, kUser + 1, kGroup, {}, 0}));
  make("/s", with_posix({}, PosixEntry{Kind::kDirectory, 03777, 0, kHandedDown, {}, 0}));
  Entries before, after;
  find_entries(tree, tree.root(), before);
  Request request =
      superuser_request(SessionId{1}, ++cxid, kTypes[data[0] % std::size(kTypes)], std::move(body));
  request.identities = kWho[data[0] / std::size(kTypes) % std::size(kWho)];
  run(request);
  find_entries(tree, tree.root(), after);
  check_new(before, after, request.identities);
  return 0;
}
