#include "fsd/wire/authenticator.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "fsd/wire/auth.h"
#include "fsd/wire/messages.h"
#include "tree/identities.h"
#include "tree/jute.h"

namespace zabfs::fsd::wire {

using tree::Error;

namespace {

constexpr size_t kLoggedScheme = 64;  // bytes of a scheme that nobody knows

void append_sasl_reply(std::string& plain, int32_t xid, std::optional<std::string_view> token) {
  Frame frame(plain);
  tree::jute::Writer out(plain);
  write_reply_header(out, xid, tree::Zxid{0}, Error::kOk);
  out.buffer(token);
}

}  // namespace

void Authenticator::add_auth(Connection& connection, Connection::Locked& locked, int32_t xid,
                             std::string_view body) const {
  tree::jute::Reader in(body);
  in.i32();
  std::string_view scheme = in.string();
  std::optional<std::string_view> credentials = in.buffer();
  if (!in.ok()) {
    return connection.end(locked, "a malformed addAuth");
  }
  std::optional<tree::Identities> proven;
  if (credentials || scheme == "ip") {
    proven = authenticate(scheme, credentials.value_or(std::string_view()), connection.address(),
                          config_.super_digest);
  }
  if (!proven) {
    return fail(connection, locked, xid,
                fmt::format("scheme \"{}\" proved nothing", scheme.substr(0, kLoggedScheme)));
  }
  if (!tree::add_identities(locked->client().identities, *proven)) {
    return fail(connection, locked, xid, too_many_identities());
  }
  append_reply(locked->out().plain(), xid, tree::Zxid{0}, Error::kOk);
}

void Authenticator::fail(Connection& connection, Connection::Locked& locked, int32_t xid,
                         const std::string& why) const {
  append_reply(locked->out().plain(), xid, tree::Zxid{0}, Error::kAuthFailed);
  ++connection.server_stats().auth_failures;
  connection.warn(
      fmt::format("client port: {} failed to authenticate: {}", connection.name(), why));
  locked->end();
}

void Authenticator::step_sasl(Connection& connection, Connection::Locked& locked, int32_t xid,
                              std::string_view body) const {
  Client& client = locked->client();
  tree::jute::Reader in(body);
  std::optional<std::string_view> token = in.buffer();
  std::optional<std::string> answer;
  if (!in.ok() || !token) return connection.end(locked, "a malformed SASL request");
  if (config_.sasl_users.empty()) {
    // As Java: the client goes on without having proven anything, so that clients can be given
    // their passwords before servers are.
    append_sasl_reply(locked->out().plain(), xid, std::nullopt);
    return;
  }
  if (!client.sasl) {
    client.sasl.emplace(config_.sasl_users, fmt::format("{:016x}{:016x}", random_(), random_()));
    answer = client.sasl->challenge();
  } else {
    answer = client.sasl->respond(*token);
    std::string user = client.sasl->user();
    client.sasl.reset();
    if (answer && !tree::add_identities(client.identities, {{"sasl", std::move(user)}})) {
      return fail(connection, locked, xid, too_many_identities());
    }
  }
  if (!answer) return fail(connection, locked, xid, "SASL proved nothing");
  append_sasl_reply(locked->out().plain(), xid, answer);
}

bool Authenticator::may_ask(Connection& connection, Connection::Locked& locked, int32_t xid) const {
  const std::vector<std::string>& schemes = config_.enforced_auth;
  if (schemes.empty()) return true;
  const tree::Identities& identities = locked->client().identities;
  bool proven = std::any_of(identities.begin(), identities.end(), [&](const tree::Id& id) {
    return std::find(schemes.begin(), schemes.end(), id.scheme) != schemes.end();
  });
  if (proven) return true;
  append_reply(locked->out().plain(), xid, tree::Zxid{0}, Error::kSessionClosedRequireSaslAuth);
  connection.end(locked, fmt::format("it has not authenticated by {}", fmt::join(schemes, " or ")));
  return false;
}

}  // namespace zabfs::fsd::wire
