// What zabfs's own requests (request.h) become for a leader that does not know them: Apache
// ZooKeeper's.
//
// The node that has such a request prepares it on its own tree, as a leader would (prepare.h). The
// txns that come out are turned into requests that every leader takes. Each of those names the
// versions that this node's tree has, so it fails if somebody was faster. This node's tree knows by
// then who that was, and the request is prepared anew. Example, an append:
//
//   1. f has version 7 here. `f` is to become its data and the new line, if it has version 7.
//   2. Another node's append made version 8. The leader answers kBadVersion.
//   3. That answer has come behind version 8. So the next try is for version 8.
//
// ZooKeeper's requests can't say everything. Under such a leader
//
//   - nothing checks a czxid. If a znode is removed and made again while the request is on its way,
//     and the new one has the same version, the request is done on the new one;
//   - a change of an ACL is a request of its own. Data that goes with a change of mode, owner or
//     time is written first. Somebody who reads between the two sees the old ones;
//   - a rename over a file removes that file and makes another, with a czxid of its own: the data
//     and the ACL come in one multi then. To a client's watch the file was deleted and created;
//   - a directory that is renamed loses a time that was set for it.
//
// Pure.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "tree/prepare.h"
#include "tree/request.h"
#include "tree/tree.h"

namespace zabfs::tree {

struct PlainRequests {
  Error error = Error::kOk;         // what the request is answered with; nothing is to be sent then
  std::vector<MultiOp> requests;    // to be sent one after the other, as long as they succeed
  std::optional<ExtSetPosix> then;  // a request that is to follow when those have succeeded
};

// Whether a request of that type is zabfs's own, and can be made of plain ones.
bool has_plain_form(OpCode type);
// `limits` and the others of `options` are this node's. kTooLarge: no request of ZooKeeper's can
// hold it.
PlainRequests plain_requests(const Tree& tree, PrepareOptions options, const Request& request);
// A request that stops a server of Apache ZooKeeper's (FORMATS.md 7.2) is not sent to one: its
// answer. kOk: it can be sent.
Error refused_for_java(const Request& request);
// Whether a plain request failed because somebody was faster. It is prepared anew then.
bool is_conflict(Error error);

}  // namespace zabfs::tree
