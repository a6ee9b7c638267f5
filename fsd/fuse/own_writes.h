// The writes of this mount's session, and what the kernel knows of them by itself.
//
// The kernel changes its own caches for an operation that it asked for. What others change it has
// to be told. So the mount remembers of its writes which were asked for by this kernel:
//
//   1. A program unlinks `a`. The mount sends that with a cxid, and remembers `a` under it.
//   2. The txn comes back, committed. Session and cxid say whose it is, so the name `a` is not told
//      to the kernel once more.
//   A write that waits for a session has no cxid yet: in a mount's first moments, or when its
//   session was lost. It gets one when it is sent.
//
//   3. Had no answer come by commitTimeout, the program would have got an error, and the kernel
//      would believe that `a` is there. The mount forgets what it remembered at that moment; when
//      the txn comes after all, it is news like anybody else's.
//
// On the strand, unless said.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "consensus/completion.h"
#include "consensus/service.h"
#include "fsd/fuse/request.h"
#include "fsd/session/session.h"
#include "fsd/session/writer.h"
#include "tree/txn.h"

namespace zabfs::fsd {

// Names that an operation of this kernel's makes, takes away or moves, and the thread that asked
// for it.
struct LocalChange {
  std::vector<std::string> names;
  pid_t thread = 0;
};

class OwnWrites {
 public:
  using Completion = consensus::Completion;

  OwnWrites(consensus::Service& service, ClientSession& session, Writer& writer)
      : service_(service), session_(session), writer_(writer) {}

  // A write by `Writer::commit`.
  void commit(tree::OpCode type, std::string body, Completion done, Completion late = nullptr,
              LocalChange local = {}, tree::SessionId only = {});
  // Runs `body` on the strand once there is a leader, or `refuse` with kReadOnly past the grace. On
  // any thread.
  void when_writable(std::function<void()> body, Writer::Done refuse);
  // The same; the request is answered with kReadOnly.
  void when_writable(const RequestPtr& request, std::function<void()> body);
  ClientSession& session() { return session_; }

  // What the kernel changes by itself for that txn; null if nothing, as when it was refused.
  const LocalChange* local_change(const tree::Txn& txn) const;
  // Whether a program here is making, removing or moving a name of that directory. The kernel has
  // locked the directory for it, until it is answered.
  bool are_names_changing_in(std::string_view directory) const;
  // Whether a program of this kernel asked for it, so that the kernel tells inotify.
  bool is_native(const tree::Txn& txn) const;

 private:
  struct Write {
    LocalChange local;  // nothing once the program was answered
    int32_t cxid = 0;   // 0: not sent yet
  };
  using WritePtr = std::shared_ptr<Write>;
  void note_sent(const WritePtr& write, int32_t cxid);
  void forget(const WritePtr& write);
  const Write* find(const tree::Txn& txn) const;

  consensus::Service& service_;
  ClientSession& session_;
  Writer& writer_;
  std::unordered_map<int32_t, WritePtr> by_cxid_;
  std::unordered_set<WritePtr> changing_;  // names; sent or not
};

}  // namespace zabfs::fsd
