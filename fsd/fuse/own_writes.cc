#include "fsd/fuse/own_writes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::Outcome;

void OwnWrites::commit(tree::OpCode type, std::string body, Completion done, Completion late,
                       LocalChange local, tree::SessionId only) {
  auto cxid = std::make_shared<int32_t>(0);
  auto answered = std::make_shared<bool>(false);
  auto and_forget = [this, cxid, answered](Completion then) -> Completion {
    return [this, cxid, answered, then = std::move(then)](const Outcome& outcome) {
      *answered = true;
      local_changes_.erase(*cxid);
      if (outcome.error != Error::kOperationTimeout) native_.erase(*cxid);
      then(outcome);
    };
  };
  if (!late) late = [](const Outcome&) {};
  *cxid = writer_.commit(type, std::move(body), and_forget(std::move(done)),
                         and_forget(std::move(late)), only);
  if (*cxid == 0 || *answered) return;
  native_.insert(*cxid);
  if (!local.names.empty()) local_changes_[*cxid] = std::move(local);
}

void OwnWrites::when_writable(std::function<void()> body, Writer::Done refuse) {
  service_.post([this, body = std::move(body), refuse = std::move(refuse)]() mutable {
    writer_.when_writable(std::move(body), std::move(refuse));
  });
}

void OwnWrites::when_writable(const RequestPtr& request, std::function<void()> body) {
  when_writable(std::move(body), [request](FileError error) { request->reply(error); });
}

const LocalChange* OwnWrites::local_change(const tree::Txn& txn) const {
  if (txn.header.session != session_.id()) return nullptr;
  auto ours = local_changes_.find(txn.header.cxid);
  return ours == local_changes_.end() ? nullptr : &ours->second;
}

bool OwnWrites::are_names_changing_in(std::string_view directory) const {
  auto is_in_it = [directory](const std::string& name) {
    return tree::parent_path(name) == directory;
  };
  return std::any_of(local_changes_.begin(), local_changes_.end(), [&](const auto& entry) {
    const std::vector<std::string>& names = entry.second.names;
    return std::any_of(names.begin(), names.end(), is_in_it);
  });
}

bool OwnWrites::is_native(const tree::Txn& txn) const {
  return txn.header.session == session_.id() && native_.contains(txn.header.cxid);
}

}  // namespace zabfs::fsd
