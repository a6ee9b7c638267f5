// Answers the reads of connections, and keeps their watches (reads.h makes the bytes).
//
// Two callers answer reads: the thread that received one (request_reader.h), and the strand for
// those that had to wait (client_writes.h). Both hold the tree's lock or are on the strand, and
// hold the connection's mutex.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "fsd/wire/connection.h"
#include "fsd/wire/reads.h"
#include "tree/tree.h"

namespace zabfs::fsd::wire {

class ReadAnswers {
 public:
  ReadAnswers(WatchBoard& watches, bool skip_acl) : watches_(watches), skip_acl_(skip_acl) {}

  // Appends one answer. False: its watches found no room, and the connection was cut off.
  bool answer(Connection& connection, Connection::Locked& locked, const tree::Tree& tree,
              int32_t xid, tree::OpCode type, std::string_view body) {
    const Client& client = locked->client();
    ReadContext context{tree,           watches_,          connection.number(),
                        client.session, client.identities, skip_acl_};
    std::string& out = locked->out().plain();
    size_t before = out.size();
    tree::Error error = append_answer(context, xid, type, body, out);
    locked->note_answer_bytes(out.size() - before);
    if (!is_lost_without_watches(type, error)) return true;
    connection.cut(locked, "there is no room for its watches (zabfs.clientMemory)");
    return false;
  }

 private:
  WatchBoard& watches_;
  const bool skip_acl_;
};

}  // namespace zabfs::fsd::wire
