#include "fsd/admin/snapshot_command.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <optional>
#include <utility>

#include "consensus/replica.h"
#include "consensus/snapshot_store.h"
#include "fsd/admin/restore.h"
#include "fsd/backup/snapshot_source.h"
#include "fsd/wire/auth.h"
#include "tree/java_snapshot.h"
#include "tree/java_snapshot_stream.h"

namespace zabfs::fsd::admin {

namespace json = boost::json;

namespace {

constexpr int64_t kIntervalMs = 5 * 60 * 1'000;  // Java: admin.snapshot.intervalInMS

HttpListener::Answer answer_of(const std::string& command, unsigned status,
                               const std::string& error) {
  json::object body{{"command", command}, {"error", nullptr}};
  if (!error.empty()) body["error"] = error;
  return {status, "application/json", json::serialize(body) + "\n", {}, nullptr, {}, nullptr};
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

std::string shown(const tree::Identities& identities) {
  std::string text;
  for (const tree::Id& id : identities) {
    text += (text.empty() ? "" : ", ") + id.scheme;
    // Of a digest only the user.
    if (!id.id.empty())
      text += ":" + id.id.substr(0, id.scheme == "digest" ? id.id.find(':') : id.id.npos);
  }
  return text;
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
  std::string who = fmt::format("{} of {}", shown(*identities), request.address);
  bool is_streaming = request.query.find("streaming=false") == std::string::npos;
  service_.post([this, name, is_restore, is_streaming, reply, who, identities = *identities] {
    const tree::Tree& tree = service_.replica().tree();
    if (!may_read_all(tree.acl_of(tree.root()), identities)) {
      return reply(answer_of(name, 403,
                             "only the superuser may, and who has all permissions on / by an entry "
                             "of his own"));
    }
    if (is_restore) return restore(who, reply);
    take(is_streaming, reply);
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

void SnapshotCommand::restore(const std::string& who, const HttpListener::Reply& reply) {
  if (restoring_.use_count() > 1) return reply(answer_of("restore", 429, "one restore at a time"));
  auto receiving = std::make_shared<tree::JavaSnapshotReader>();
  HttpListener::Upload upload;
  upload.max_bytes = backup::memory_bytes();
  upload.take = [receiving](std::string_view bytes) { return receiving->feed(bytes); };
  upload.taken = [this, who, receiving, turn = restoring_](Status status,
                                                           const HttpListener::Reply& then) {
    StatusOr<tree::JavaSnapshot> snapshot = status;
    if (status.ok()) snapshot = receiving->finish({});
    if (snapshot.ok() && !snapshot->tree->path_without_acl().empty()) {
      snapshot = Status::failed(snapshot->tree->path_without_acl() +
                                " has an ACL that the snapshot does not have");
    }
    if (!snapshot.ok()) {
      return then(answer_of("restore", 400,
                            "the body is no snapshot file of ZooKeeper's: " + snapshot.why()));
    }
    std::shared_ptr<const tree::Tree> wanted = std::move(snapshot->tree);
    service_.post([this, wanted, who, turn, then] { restore_from(wanted, who, turn, then); });
  };
  Answer answer;
  answer.upload = std::move(upload);
  reply(std::move(answer));
}

void SnapshotCommand::restore_from(std::shared_ptr<const tree::Tree> wanted, const std::string& who,
                                   std::shared_ptr<int> turn, const HttpListener::Reply& reply) {
  service_.log(
      consensus::LogLevel::kInfo,
      fmt::format("restore: {} makes the tree one of {} znodes", who, wanted->node_count()));
  auto done = [this, wanted, turn, reply](const StatusOr<size_t>& changes) {
    if (!changes.ok()) {
      service_.log(consensus::LogLevel::kWarning, "restore: " + changes.why());
      Answer answer = answer_of("restore", 503, changes.why());
      answer.kept = wanted;
      return reply(std::move(answer));
    }
    service_.log(consensus::LogLevel::kInfo,
                 fmt::format("restore: done, with {} changes", *changes));
    std::string zxid = fmt::format("0x{:x}", service_.replica().tree().last_zxid().value);
    json::object body{
        {"command", "restore"}, {"error", nullptr}, {"last_zxid", zxid}, {"changes", *changes}};
    reply({200, "application/json", json::serialize(body) + "\n", {}, nullptr, {}, wanted});
  };
  std::make_shared<Restore>(service_, wanted, std::move(done))->start();
}

}  // namespace zabfs::fsd::admin
