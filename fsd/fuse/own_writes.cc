#include "fsd/fuse/own_writes.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "fsd/fuse/callers.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::Outcome;

void OwnWrites::commit(tree::OpCode type, std::string body, Completion done, Completion late,
                       LocalChange local, tree::SessionId only) {
  auto write = std::make_shared<Write>(Write{std::move(local)});
  if (!write->local.names.empty()) changing_.insert(write);
  auto and_forget = [this, write](Completion then) -> Completion {
    return [this, write, then = std::move(then)](const Outcome& outcome) {
      changing_.erase(write);
      write->local = {};
      if (outcome.error != Error::kOperationTimeout) forget(write);
      then(outcome);
    };
  };
  if (!late) late = [](const Outcome&) {};
  writer_.commit(type, std::move(body), and_forget(std::move(done)), and_forget(std::move(late)),
                 only, [this, write](int32_t cxid) { note_sent(write, cxid); });
}

void OwnWrites::note_sent(const WritePtr& write, int32_t cxid) {
  forget(write);
  write->cxid = cxid;
  by_cxid_[cxid] = write;
}

// In a later session the same cxid may be that of another write.
void OwnWrites::forget(const WritePtr& write) {
  auto found = by_cxid_.find(write->cxid);
  if (found != by_cxid_.end() && found->second == write) by_cxid_.erase(found);
}

void OwnWrites::when_writable(std::function<void()> body, Writer::Done refuse) {
  service_.post([this, body = std::move(body), refuse = std::move(refuse)]() mutable {
    writer_.when_writable(std::move(body), std::move(refuse));
  });
}

void OwnWrites::when_writable(const RequestPtr& request, std::function<void()> body) {
  auto as_asked = [this, actor = actor_of(*request), body = std::move(body)] {
    ClientSession::Acting as(session_, actor);
    body();
  };
  when_writable(std::move(as_asked), [request](FileError error) { request->reply(error); });
}

const OwnWrites::Write* OwnWrites::find(const tree::Txn& txn) const {
  if (txn.header.session != session_.id()) return nullptr;
  auto found = by_cxid_.find(txn.header.cxid);
  return found == by_cxid_.end() ? nullptr : found->second.get();
}

const LocalChange* OwnWrites::local_change(const tree::Txn& txn) const {
  auto* multi = std::get_if<tree::MultiTxn>(&txn.body);
  bool is_refused =
      txn.header.type == tree::OpCode::kError || (multi != nullptr && multi->failed());
  if (is_refused) return nullptr;
  const Write* write = find(txn);
  return write == nullptr || write->local.names.empty() ? nullptr : &write->local;
}

bool OwnWrites::is_native(const tree::Txn& txn) const { return find(txn) != nullptr; }

bool OwnWrites::are_names_changing_in(std::string_view directory) const {
  auto is_in_it = [directory](const std::string& name) {
    return tree::parent_path(name) == directory;
  };
  return std::any_of(changing_.begin(), changing_.end(), [&](const WritePtr& write) {
    const std::vector<std::string>& names = write->local.names;
    return std::any_of(names.begin(), names.end(), is_in_it);
  });
}

}  // namespace zabfs::fsd
