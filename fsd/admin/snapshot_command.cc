#include "fsd/admin/snapshot_command.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <utility>

#include "consensus/replica.h"
#include "consensus/snapshot_store.h"
#include "fsd/backup/snapshot_source.h"
#include "fsd/wire/auth.h"
#include "tree/java_snapshot_stream.h"

namespace zabfs::fsd::admin {

namespace json = boost::json;

namespace {

constexpr int64_t kIntervalMs = 5 * 60 * 1'000;  // Java: admin.snapshot.intervalInMS

HttpListener::Answer answer_of(const std::string& command, unsigned status,
                               const std::string& error) {
  json::object body{{"command", command}, {"error", nullptr}};
  if (!error.empty()) body["error"] = error;
  return {status, "application/json", json::serialize(body) + "\n", {}, nullptr};
}

// What `Authorization: SCHEME CREDENTIALS` proves.
std::optional<tree::Identities> identities_of(const HttpListener::Request& request,
                                              const std::string& super_digest) {
  size_t space = request.authorization.find(' ');
  if (space == std::string::npos) return std::nullopt;
  return wire::authenticate(request.authorization.substr(0, space),
                            request.authorization.substr(space + 1), request.address, super_digest);
}

// Each permission by itself, and none that everybody has.
bool may_read_all(const tree::AclList& of_root, const tree::Identities& identities) {
  tree::AclList own;
  for (const tree::Acl& entry : of_root) {
    if (entry.who.scheme != "world") own.push_back(entry);
  }
  if (own.empty()) own.push_back({0, {"world", "anyone"}});  // an empty list would grant all
  for (int32_t permission = 1; permission <= tree::kPermAll; permission <<= 1) {
    if (!tree::acl_allows(own, permission, identities)) return false;
  }
  return true;
}

// The file's pieces, one at a time.
class Sending {
 public:
  Sending(std::shared_ptr<int> turn, consensus::Snapshotter::Stored stored)
      : turn_(std::move(turn)), stored_(std::move(stored)), stream_(stored_.zxid) {}

  StatusOr<bool> next(std::string& out) {
    if (has_ended_) return false;
    Status status = std::exchange(is_open_, true) ? Status() : open();
    if (status.ok()) status = reader_.next(piece_);
    if (!status.ok()) return status;
    has_ended_ = piece_.empty();
    if (has_ended_) {
      stream_.finish(out);
    } else {
      stream_.add(piece_, out);
    }
    return true;
  }

 private:
  Status open() {
    auto file = backup::open_to_read(stored_.path);
    if (!file.ok()) return file.status();
    return reader_.open(std::move(*file), stored_.path, stored_.zxid);
  }

  const std::shared_ptr<int> turn_;
  const consensus::Snapshotter::Stored stored_;
  tree::JavaSnapshotStream stream_;
  consensus::SnapshotReader reader_;
  std::string piece_;
  bool is_open_ = false, has_ended_ = false;
};

}  // namespace

bool SnapshotCommand::is_name(const std::string& command) {
  return command == "snapshot" || command == "snap" || command == "restore" || command == "rest";
}

void SnapshotCommand::run(const std::string& command, const HttpListener::Request& request,
                          const HttpListener::Reply& reply) {
  std::string name = command.starts_with("snap") ? "snapshot" : "restore";
  bool is_restore = name == "restore";
  if (request.is_post != is_restore) {
    return reply(answer_of(name, 405, is_restore ? "restore is a POST" : "snapshot is a GET"));
  }
  auto identities = identities_of(request, clients_.config().super_digest);
  if (!identities) {
    return reply(answer_of(name, 401, "say who you are: Authorization: digest USER:PASSWORD"));
  }
  bool is_streaming = request.query.find("streaming=false") == std::string::npos;
  service_.post([this, name, is_restore, is_streaming, reply, identities = *identities] {
    const tree::Tree& tree = service_.replica().tree();
    if (!may_read_all(tree.acl_of(tree.root()), identities)) {
      return reply(answer_of(name, 403,
                             "only the superuser may, and who has all permissions on / by an entry "
                             "of his own"));
    }
    if (!is_restore) return take(is_streaming, reply);
    reply(answer_of(name, 501,
                    "a server that runs is not restored here: its members would keep another tree. "
                    "Make a new ensemble by `zabfs restore` or `zabfs import-zookeeper`"));
  });
}

void SnapshotCommand::take(bool is_streaming, const HttpListener::Reply& reply) {
  const std::string name = "snapshot";
  if (sending_.use_count() > 1 || service_.now_ms() < next_ms_) {
    return reply(answer_of(name, 429, "one snapshot in five minutes, and one at a time"));
  }
  next_ms_ = service_.now_ms() + kIntervalMs;
  service_.replica().ask_snapshot([this, name, is_streaming, reply, turn = sending_](
                                      const StatusOr<consensus::Snapshotter::Stored>& stored) {
    if (!stored.ok()) {
      next_ms_ = INT64_MIN;
      return reply(answer_of(name, 503, stored.why()));
    }
    Answer answer = answer_of(name, 200, "");
    answer.fields = {{"last_zxid", fmt::format("0x{:x}", stored->zxid.value)}};
    if (is_streaming) {
      auto sending = std::make_shared<Sending>(turn, *stored);
      answer.type = "application/octet-stream";
      answer.next = [sending](std::string& out) { return sending->next(out); };
    }
    reply(std::move(answer));
  });
}

}  // namespace zabfs::fsd::admin
