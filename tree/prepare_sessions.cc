// Sessions as the leader sees them while it prepares: who may write, who is attached, who closes.
#include "tree/prepare.h"

namespace zabfs::tree {
namespace {

constexpr size_t kMaxClosedPathBytes = 512u << 10;

}  // namespace

std::optional<Session> Preparer::find_session(SessionId id) const {
  auto change = session_changes_.find(id);
  if (change != session_changes_.end()) return change->second.session;
  auto found = tree_.sessions().find(id);
  if (found == tree_.sessions().end()) return std::nullopt;
  return found->second;
}

bool Preparer::is_attached(SessionId id, Zxid attachment) const {
  std::optional<Session> session = find_session(id);
  return session && session->attachment == attachment;
}

int16_t Preparer::home_of(SessionId id) const {
  std::optional<Session> session = find_session(id);
  bool moved = session && session->home != kWhereItWasMade;
  return moved ? session->home : maker_of(id);
}

Error Preparer::admit(const Request& request) const {
  if (request.session == SessionId{} || request.attachment == kNoAttachment) return Error::kOk;
  std::optional<Session> session = find_session(request.session);
  if (!session) return Error::kOk;  // `prepare` has an answer to that
  if (request.attachment < session->attachment) return Error::kSessionMoved;
  bool is_numbered = request.cxid > 0 && session->last_cxid > 0;
  if (is_numbered && !is_later_cxid(request.cxid, session->last_cxid)) {
    return Error::kConnectionLoss;
  }
  return Error::kOk;
}

void Preparer::note_request(const Request& request) {
  if (request.cxid <= 0 || request.session == SessionId{}) return;
  if (request.attachment == kNoAttachment || request.type == OpCode::kExtAttach) return;
  std::optional<Session> session = find_session(request.session);
  if (!session) return;
  session->last_cxid = request.cxid;
  session_changes_[request.session] = {zxid_, session};
}

Error Preparer::check_session(const Request& request) const {
  if (request.session == SessionId{}) return Error::kOk;
  bool known = find_session(request.session) || options_.local_sessions;
  return known ? Error::kOk : Error::kSessionExpired;
}

Error Preparer::prepare_attach(const Request& request, Txn& txn) {
  std::optional<Session> session = find_session(request.session);
  if (!session) return Error::kSessionExpired;
  session = attached(*session, request.cxid, zxid_);
  session_changes_[request.session] = {zxid_, session};
  txn.header.type = OpCode::kError;
  txn.body = ErrorTxn{Error::kOk};
  return Error::kOk;
}

Error Preparer::prepare_close_session(const Request& request, Txn& txn) {
  CloseSessionTxn body;
  size_t bytes = 0;
  for (std::string& path : outstanding_.ephemerals(request.session)) {
    bytes += path.size() + sizeof(int32_t);
    std::string_view kept = keep(std::move(path));
    // One txn names so many at most, for it must fit a packet: the rest goes before it.
    if (bytes > kMaxClosedPathBytes) {
      emit_first(make_delete(kept));
    } else {
      body.paths.push_back(kept);
    }
  }
  for (std::string_view path : body.paths) make_delete(path);
  session_changes_[request.session] = {zxid_, std::nullopt};
  txn.body = std::move(body);
  return Error::kOk;
}

}  // namespace zabfs::tree
