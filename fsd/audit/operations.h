// The audit lines of one request (Java: AuditHelper.addAuditLog).
//
// Requests that change neither data nor permissions have none. A multi that was done has a line for
// each of its changes; one that failed has a single line, `multiOperation`. What only a mount asks
// for goes by ZooKeeper's words: an append is `setData`, a rename is `delete` of the old name and
// `create` of the new one, a change of mode or owner is `setAcl`.
//
// Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "fsd/audit/event.h"
#include "tree/tree.h"
#include "tree/txn.h"

namespace zabfs::fsd::audit {

// What `events_of` needs of a client's request, for whoever keeps that until it is answered: the
// request without the data of its znodes. No longer than `body`.
std::string without_data(tree::OpCode type, std::string_view body);

std::vector<Event> events_of(const Who& who, tree::OpCode type, std::string_view body,
                             const tree::Outcome& outcome);

}  // namespace zabfs::fsd::audit
