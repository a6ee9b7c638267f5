// The admin port's `snapshot` and `restore`, of ZooKeeper 3.9.
//
//   GET /commands/snapshot[?streaming=false]     with `Authorization: SCHEME CREDENTIALS`
//   POST /commands/restore                       with the same, and a snapshot as the body
//
// snapshot: the node writes a snapshot (consensus/snapshotter.h), and it is sent as a file of
// Java's (tree/java_snapshot_stream.h), sessions and all. With streaming=false it stays where it
// is. The field `last_zxid` says of which zxid it is.
//
// restore: the ensemble's tree becomes the snapshot's, by commits (restore.h). Java puts it in the
// place of one server's tree, whose ensemble has to be stopped for that. The answer comes when all
// is committed; a client that goes away earlier changes nothing of that. `last_zxid` is the tree's
// then.
//
// Whoever gets a snapshot reads all znodes, whatever their ACLs, and a restore writes them. So he
// has to be the superuser, or to have every permission on the root, each by an entry that is about
// him: an open root, as a new tree of ZooKeeper's has, lets nobody in here. (Java counts that one;
// CVE-2025-58457 is that one permission was enough.)
//
// Limits: one snapshot in kInterval, and one that is sent at a time; one restore at a time, of no
// more bytes than the machine has memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "consensus/service.h"
#include "fsd/admin/http_listener.h"
#include "fsd/wire/server.h"
#include "tree/tree.h"

namespace zabfs::fsd::admin {

class SnapshotCommand {
 public:
  SnapshotCommand(consensus::Service& service, wire::WireServer& clients)
      : service_(service), clients_(clients) {}

  static bool is_name(const std::string& command);
  // On the listener's thread.
  void run(const std::string& command, const HttpListener::Request& request,
           const HttpListener::Reply& reply);

 private:
  using Answer = HttpListener::Answer;
  void take(bool is_streaming, const HttpListener::Reply& reply);
  void restore(const std::string& who, const HttpListener::Reply& reply);
  void restore_from(std::shared_ptr<const tree::Tree> wanted, const std::string& who,
                    std::shared_ptr<int> turn, const HttpListener::Reply& reply);

  consensus::Service& service_;
  wire::WireServer& clients_;
  // On the strand.
  int64_t next_ms_ = INT64_MIN;                               // when the next may be asked for
  std::shared_ptr<int> sending_ = std::make_shared<int>();    // shared by the one that is sent
  std::shared_ptr<int> restoring_ = std::make_shared<int>();  // shared by the one that is under way
};

}  // namespace zabfs::fsd::admin
