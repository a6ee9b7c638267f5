// What a leader of Apache ZooKeeper says to an observer, piece by piece. Its txns are creates, one
// a zxid of its epoch.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "consensus/messages.h"
#include "tree/acl.h"
#include "tree/jute.h"
#include "tree/snapshot.h"
#include "tree/tree.h"
#include "tree/txn.h"

namespace zabfs {

inline constexpr uint32_t kLiveEpoch = 3;

class LiveLeader {
 public:
  // The txn carries the tree's digest behind it, or that one.
  void create(const std::string& path, uint32_t counter,
              std::optional<int64_t> digest = std::nullopt) {
    tree::CreateTxn body;
    body.path = path;
    body.data = "data";
    body.acl = tree::open_acl();
    body.parent_cversion = tree_.root().stat.cversion + 1;
    tree::Txn txn;
    txn.header = {tree::SessionId{1}, 1, zxid(counter), 1'700'000'000'000, tree::OpCode::kCreate};
    txn.body = body;
    add(txn, counter, digest);
  }
  void set_data(const std::string& path, const std::string& data, uint32_t counter) {
    tree::SetDataTxn body;
    body.path = path;
    body.data = data;
    body.version = tree_.find(path)->stat.version + 1;
    tree::Txn txn;
    txn.header = {tree::SessionId{1}, 1, zxid(counter), 1'700'000'000'000, tree::OpCode::kSetData};
    txn.body = body;
    add(txn, counter, std::nullopt);
  }
  void open_session(tree::SessionId session, uint32_t counter) {
    tree::Txn txn;
    txn.header = {session, 0, zxid(counter), 1'700'000'000'000, tree::OpCode::kCreateSession};
    txn.body = tree::CreateSessionTxn{30'000};
    add(txn, counter, std::nullopt);
  }
  void close_session(tree::SessionId session, uint32_t counter) {
    tree::Txn txn;
    txn.header = {session, 1, zxid(counter), 1'700'000'000'000, tree::OpCode::kCloseSession};
    txn.body = tree::CloseSessionTxn{};
    add(txn, counter, std::nullopt);
  }
  int64_t digest() const { return tree_.digest(); }

  std::string info() const {  // Java's has the version of the protocol alone
    std::string version;
    tree::jute::Writer(version).i32(0x10000);
    return packet(consensus::PacketType::kLeaderInfo, 0, version);
  }
  std::string snap(uint32_t counter) const {
    return packet(consensus::PacketType::kSnap, counter, std::nullopt);
  }
  std::string snapshot() {
    std::string bytes;
    {
      std::unique_ptr<tree::SnapshotCursor> cursor = tree_.begin_snapshot();
      while (cursor->next(bytes, 1'000)) {
      }
    }
    tree::jute::Writer(bytes).string(consensus::kSnapshotSignature);
    return bytes;
  }
  std::string inform(uint32_t counter) const { return inform(counter, txns_.at(counter)); }
  std::string inform(uint32_t counter, const std::string& txn) const {
    return packet(consensus::PacketType::kInform, counter, txn);
  }
  std::string proposal(uint32_t counter) const { return proposal(counter, txns_.at(counter)); }
  std::string proposal(uint32_t counter, const std::string& txn) const {
    return packet(consensus::PacketType::kProposal, counter, txn);
  }
  std::string commit(uint32_t counter) const {
    return packet(consensus::PacketType::kCommit, counter, std::nullopt);
  }
  std::string new_leader() const {
    return packet(consensus::PacketType::kNewLeader, 0, "server.1=h:1:2:participant\nversion=0");
  }
  std::string ping() const { return packet(consensus::PacketType::kPing, 0, std::nullopt); }
  std::string up_to_date() const {
    return packet(consensus::PacketType::kUpToDate, 0, std::nullopt);
  }

 private:
  void add(tree::Txn& txn, uint32_t counter, std::optional<int64_t> digest) {
    tree_.apply(txn, nullptr);
    txn.digest = digest.value_or(tree_.digest());
    encode_txn(txn, txns_[counter]);
  }
  static tree::Zxid zxid(uint32_t counter) { return tree::Zxid::make(kLiveEpoch, counter); }
  static std::string packet(consensus::PacketType type, uint32_t counter,
                            const std::optional<std::string>& data) {
    consensus::Packet packet(type, zxid(counter));
    if (data) packet.data = consensus::make_payload(*data);
    std::string bytes;
    encode_packet(packet, bytes);
    return bytes;
  }

  tree::Tree tree_;
  std::map<uint32_t, std::string> txns_;
};

}  // namespace zabfs
