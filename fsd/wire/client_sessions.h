// The sessions of the clients at this server. A session is opened or found for a connection. It
// belongs to that connection until the session ends, or its client connects anew.
//
// A connect request becomes one of these:
//
//   a new session        a txn that makes it; or a local session (local_sessions.h), at once
//   a session's client   shows its password. The replica attaches the session to this server: from
//   comes back           then on, no request takes effect that came by an older connection
//   read-only            no leader is known, and the client is content with reads
//   turned away          the session is over, or the password is wrong; the client is told
//   refused              the connection is closed without a word, and the client tries elsewhere
//
// A session has one connection. Example of a client that comes back while its old connection seems
// to be well:
//   1. Connection A has session 5, and a write of A's is on its way to the strand.
//   2. The client connects again, as B. `connect` shuts A, and B is to have session 5.
//   3. A's write reaches the strand. `is_of_another` says that the session is not A's any more, and
//      the write is dropped. Else it could take effect behind what the client does by B.
//
// Clients are named to the replica as alive when it asks (`name_touched`).
//
// On the strand.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "consensus/service.h"
#include "fsd/wire/config.h"
#include "fsd/wire/connection.h"
#include "fsd/wire/local_sessions.h"
#include "fsd/wire/messages.h"
#include "fsd/wire/send_list.h"
#include "tree/tree.h"

namespace zabfs::fsd::wire {

class ClientSessions {
 public:
  ClientSessions(consensus::Service& service, const WireConfig& config, SendList& to_send)
      : service_(service), config_(config), to_send_(to_send), local_(config.local_upgrading) {}

  // Answers a connect request; or refuses the connection.
  void connect(const ConnectionPtr& connection, const ConnectRequest& request);
  // Whether the session is another connection's by now.
  bool is_of_another(tree::SessionId session, const ConnectionPtr& connection) const;
  // The outcome of a request that this server decides alone, because its session is local. nullopt:
  // the request goes to the leader.
  std::optional<tree::Outcome> serve_locally(const tree::Request& request);

  // The connection is gone. Its session may live on.
  void forget(const ConnectionPtr& connection);
  // ---- what the replica tells
  void session_closed(tree::SessionId session);
  void name_touched();
  // False: it leads, and leaderServes is no.
  bool serves_here() const;
  void standing_changed();
  size_t local_count() const { return local_.size(); }
  // Nothing is opened any more.
  void stop() { is_stopped_ = true; }

 private:
  void connect_read_only(const ConnectionPtr& connection, const ConnectRequest& request,
                         int32_t timeout_ms);
  void make_session(const ConnectionPtr& connection, const ConnectRequest& request,
                    int32_t timeout_ms);
  void attach(const ConnectionPtr& connection, const ConnectRequest& request, int32_t timeout_ms);
  void open(const ConnectionPtr& connection, const ConnectRequest& request, tree::SessionId session,
            int32_t timeout_ms, tree::Zxid attachment = tree::kFirstAttachment);
  void turn_away(const ConnectionPtr& connection, const ConnectRequest& request);
  bool proves(const ConnectRequest& request) const;
  bool proves_with_secret(const ConnectRequest& request) const;
  std::string password_of(tree::SessionId session) const;
  bool may_open_read_only(const ConnectRequest& request) const;
  void upgrade(tree::SessionId session);
  void end_local_sessions();
  void close_read_only();

  consensus::Service& service_;
  const WireConfig& config_;
  SendList& to_send_;
  std::map<tree::SessionId, ConnectionPtr> connections_;
  LocalSessions local_;
  int64_t leaderless_since_ms_ = 0;  // 0: there is a leader
  bool is_stopped_ = false;
};

}  // namespace zabfs::fsd::wire
