#include "consensus/pending_requests.h"

namespace zabfs::consensus {

namespace {

// A request that says itself which state it is for can be sent again without knowing its fate: the
// second time it fails.
bool is_conditional(const tree::Request& request) {
  if (request.type != tree::OpCode::kExtWrite) return false;
  std::optional<tree::ExtWrite> write = tree::decode_ext_write(request.body);
  return write && write->version != tree::kAnyVersion;
}

}  // namespace

bool PendingRequests::has_room_for(const tree::Request& request) const {
  return requests_.size() < max_requests_ && bytes_ + request.body.size() <= max_bytes_;
}

PendingRequests::Number PendingRequests::add(tree::Request request, Completion done, bool at_once) {
  Number number = next_++;
  bytes_ += request.body.size();
  by_key_[{request.session, request.cxid}] = number;
  requests_.emplace(number, Pending{std::move(request), std::move(done), at_once});
  return number;
}

const tree::Request& PendingRequests::count_send(Number number) {
  Pending& pending = requests_.at(number);
  ++pending.times_sent;
  return pending.request;
}

Completion PendingRequests::remove(Requests::iterator entry) {
  const tree::Request& request = entry->second.request;
  bytes_ -= request.body.size();
  by_key_.erase({request.session, request.cxid});
  Completion done = std::move(entry->second.done);
  requests_.erase(entry);
  return done;
}

std::optional<Completion> PendingRequests::take(Number number) {
  auto entry = requests_.find(number);
  if (entry == requests_.end()) return std::nullopt;
  return remove(entry);
}

std::optional<Completion> PendingRequests::take_committed(const tree::TxnHeader& header,
                                                          bool at_once) {
  auto key = by_key_.find({header.session, header.cxid});
  if (key == by_key_.end()) return std::nullopt;
  auto entry = requests_.find(key->second);
  if (entry->second.at_once != at_once) return std::nullopt;
  return remove(entry);
}

std::optional<Completion> PendingRequests::take_refused(Key key, Zxid attachment) {
  auto number = by_key_.find(key);
  if (number == by_key_.end()) return std::nullopt;
  auto entry = requests_.find(number->second);
  if (entry->second.request.attachment != attachment) return std::nullopt;
  return remove(entry);
}

std::vector<Completion> PendingRequests::take_attaching() {
  std::vector<Completion> taken;
  for (auto entry = requests_.begin(); entry != requests_.end();) {
    auto next = std::next(entry);
    bool attaches = entry->second.request.type == tree::OpCode::kExtAttach;
    if (attaches) taken.push_back(remove(entry));
    entry = next;
  }
  return taken;
}

void PendingRequests::drop() {
  requests_.clear();
  by_key_.clear();
  bytes_ = 0;
}

void PendingRequests::lose_track() {
  for (auto& [number, pending] : requests_) pending.fate_unknown |= pending.times_sent > 0;
}

std::vector<PendingRequests::Decision> PendingRequests::decide(
    const std::set<Key>& outstanding) const {
  std::vector<Decision> decisions;
  for (const auto& [number, pending] : requests_) {
    if (outstanding.contains({pending.request.session, pending.request.cxid})) continue;
    bool is_lost = pending.fate_unknown && !is_conditional(pending.request);
    decisions.push_back({number, is_lost || pending.times_sent >= kMaxSends});
  }
  return decisions;
}

}  // namespace zabfs::consensus
