#include "fsd/audit/ephemerals.h"

#include <unistd.h>

#include <utility>

namespace zabfs::fsd::audit {

void Ephemerals::before_publish(const std::vector<tree::Txn>& txns) {
  closed_.clear();
  for (const tree::Txn& txn : txns) {
    bool closes = txn.header.type == tree::OpCode::kCloseSession;
    if (closes) closed_[txn.header.zxid] = txn.header.session;
  }
}

void Ephemerals::published(const std::vector<tree::Change>& changes) {
  if (closed_.empty()) return;
  std::vector<Event> events;
  for (const tree::Change& change : changes) {
    auto session = closed_.find(change.zxid);
    if (session == closed_.end() || change.type != tree::ChangeType::kDeleted) continue;
    Event event;
    event.who = {session->second, {}, {::geteuid()}, {}};
    event.operation = "ephemeralZNodeDeletionOnSessionCloseOrExpire";
    event.znode = change.path;
    events.push_back(std::move(event));
  }
  log_.write(std::move(events));
}

}  // namespace zabfs::fsd::audit
