// The admin port's `snapshot`, as ZooKeeper 3.9 has it, and why there is no `restore` here.
//
//   GET /commands/snapshot[?streaming=false]     with `Authorization: SCHEME CREDENTIALS`
//
// The node writes a snapshot (consensus/snapshotter.h), and it is sent as a file of Java's
// (tree/java_snapshot_stream.h), sessions and all. With streaming=false it stays where it is. The
// field `last_zxid` says of which zxid it is.
//
// Whoever gets a snapshot reads all znodes, whatever their ACLs. So he has to be the superuser, or
// to have every permission on the root, each by an entry that is about him: an open root, as a new
// tree of ZooKeeper's has, lets nobody in here. (Java counts that one; CVE-2025-58457 is that one
// permission was enough.)
//
// Limits: one snapshot in kInterval, and one that is sent at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "consensus/service.h"
#include "fsd/admin/http_listener.h"
#include "fsd/wire/server.h"

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

  consensus::Service& service_;
  wire::WireServer& clients_;
  // On the strand.
  int64_t next_ms_ = INT64_MIN;                             // when the next may be asked for
  std::shared_ptr<int> sending_ = std::make_shared<int>();  // shared by the one that is sent
};

}  // namespace zabfs::fsd::admin
