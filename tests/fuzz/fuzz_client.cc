// What a ZooKeeper client sends: its hello, and the requests that the tree answers. The first byte
// says which; also SASL's answers and the text of quotas. An answer is one whole frame behind whole
// events, and within its bounds; those of a multiRead are read back result by result.
#include <map>

#include "fsd/wire/messages.h"
#include "fsd/wire/reads.h"
#include "fsd/wire/sasl.h"
#include "tree/prepare.h"
#include "tree/quota.h"

using namespace zabfs;

namespace {

constexpr size_t kLargeBytes = 100'000;

// Some of what there is to read: data, children, an ACL that keeps others out.
void fill(tree::Tree& tree) {
  tree::Preparer preparer(tree);
  preparer.reset();
  tree::Zxid zxid = tree::Zxid::make(1, 1);
  int32_t cxid = 0;
  auto create = [&](std::string_view path, std::string_view data, const tree::AclList& acl) {
    tree::Request request = superuser_request(tree::SessionId{1}, cxid++, tree::OpCode::kCreate,
                                              tree::create_body(path, data, acl, 0));
    for (tree::PreparedTxn& txn : preparer.prepare(request, zxid, 1'700'000'000'000)) {
      zxid = txn.zxid.next();
      static_cast<void>(tree.apply(*tree::decode_txn(txn.bytes), nullptr));
      preparer.applied(txn.zxid);
    }
  };
  create("/a", std::string(kLargeBytes, 'x'), tree::open_acl());
  create("/a/b", "y", tree::open_acl());
  create("/s", "z", {{tree::kPermWrite, {"world", "anyone"}}});
}

void expect(bool holds) {
  if (!holds) __builtin_trap();
}

void read_stat(tree::jute::Reader& in) { expect(in.take(68).size() == 68); }

// The results of a multiRead: as many as were asked for, each what its header says.
void read_results(tree::jute::Reader in) {
  while (true) {
    auto type = static_cast<tree::OpCode>(in.i32());
    bool done = in.boolean();
    int32_t error = in.i32();
    expect(in.ok());
    if (done) break;
    if (type == tree::OpCode::kError) {
      expect(in.i32() == error && error != 0);
    } else if (type == tree::OpCode::kGetData) {
      in.buffer();
      read_stat(in);
    } else {
      expect(type == tree::OpCode::kGetChildren);
      for (int32_t left = in.i32(); left > 0 && in.ok(); --left) in.string();
    }
    expect(in.ok());
  }
  expect(in.done());
}

// `answer` is of a request of this type.
void check(tree::OpCode type, std::string_view answer) {
  tree::jute::Reader frames(answer);
  std::string_view last;
  while (!frames.at_end()) last = frames.string();
  expect(frames.ok() && last.size() <= fsd::wire::kMaxAnswerBytes + kLargeBytes + 1'000);
  tree::jute::Reader in(last);
  in.i32();
  in.i64();
  auto error = static_cast<tree::Error>(in.i32());
  expect(in.ok() && (error == tree::Error::kOk || in.at_end()));
  if (type == tree::OpCode::kMultiRead && error == tree::Error::kOk) read_results(in);
}

}  // namespace

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
    static tree::Tree tree;
    if (tree.find("/a") == nullptr) fill(tree);
    constexpr size_t kWatchBytes = 50'000;
    fsd::wire::WatchBoard watches({kWatchBytes / 2, kWatchBytes});
    const tree::Identities who{{"ip", "127.0.0.1"}};
    std::string answer;
    static_cast<void>(fsd::wire::append_answer({tree, watches, 1, tree::SessionId{1}, who, false},
                                               1, kReads[which], body, answer));
    check(kReads[which], answer);
    expect(watches.with([](tree::WatchTables& tables) { return tables.bytes(); }) <= kWatchBytes);
  }
  return 0;
}
