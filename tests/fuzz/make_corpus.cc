// Writes seeds for a fuzzer, made by our own encoders: make_corpus NAME DIRECTORY.
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "consensus/log_format.h"
#include "consensus/messages.h"
#include "fsd/archive/archive_sink.h"
#include "fsd/backup/writer.h"
#include "fsd/transfer/record.h"
#include "tree/java_snapshot.h"
#include "tree/prepare.h"
#include "tree/request.h"
#include "tree/snapshot.h"
#include "unit/live_leader.h"

using namespace zabfs;

namespace {

std::string directory;
int written = 0;

void seed(const std::string& bytes) {
  std::ofstream(directory + "/seed" + std::to_string(written++), std::ios::binary) << bytes;
}

std::vector<std::pair<tree::OpCode, std::string>> requests() {
  using tree::OpCode;
  tree::ExtWrite write{"/a", tree::kAnyCzxid, 0, "data", {}};
  tree::ExtAppend append{"/a", tree::kAnyCzxid, "more"};
  tree::ExtRename rename;
  rename.from = "/a";
  rename.to = "/b";
  tree::ExtRemove remove;
  remove.path = "/a";
  return {{OpCode::kCreate, tree::create_body("/b", "x", tree::open_acl(), 2)},
          {OpCode::kDelete, tree::delete_body("/a", -1)},
          {OpCode::kSetData, tree::set_data_body("/a", "y", 0)},
          {OpCode::kSetAcl, tree::set_acl_body("/a", tree::open_acl(), -1)},
          {OpCode::kCreateTtl, tree::create_ttl_body("/t", "x", tree::open_acl(), 5, 1'000)},
          {OpCode::kMulti, tree::multi_body({{OpCode::kCheck, tree::check_body("/a", 0)},
                                             {OpCode::kDelete, tree::delete_body("/a", 0)}})},
          {OpCode::kExtWrite, encode(write)},
          {OpCode::kExtAppend, encode(append)},
          {OpCode::kExtRename, encode(rename)},
          {OpCode::kExtRemove, encode(remove)}};
}

// As fuzz_request.cc counts types and senders.
void posix_requests() {
  constexpr int kTypes = 18, kSenders = 3, kCreate = 0, kSetAcl = 3, kMulti = 5;
  for (const char* id : {"zabfs-posix,f,644,1000,2000:x", "zabfs-posix,d,2755,1000,3000:x",
                         "zabfs-posix,l,6777,0,0,1.000000002@3:x"}) {
    tree::AclList acl{{31, {"world", "anyone"}}, {0, {"digest", id}}};
    for (int sender = 0; sender < kSenders; ++sender) {
      auto add = [sender](int type, const std::string& body) {
        seed(std::string(1, static_cast<char>(type + sender * kTypes)) + body);
      };
      std::string create = tree::create_body("/s/b", "x", acl, 0);
      add(kCreate, create);
      add(kSetAcl, tree::set_acl_body("/u", acl, -1));
      add(kMulti, tree::multi_body({{tree::OpCode::kCreate, create}}));
    }
  }
}

std::vector<std::string> txns() {
  tree::Tree tree;
  tree::Preparer preparer(tree);
  preparer.reset();
  std::vector<std::string> all;
  tree::Zxid zxid = tree::Zxid::make(1, 1);
  int32_t cxid = 0;
  auto run = [&](tree::OpCode type, std::string body) {
    tree::Request request = superuser_request(tree::SessionId{1}, cxid++, type, std::move(body));
    request.user = {1'000, "vim"};
    request.identities.push_back({"digest", "bob:hash"});
    for (tree::PreparedTxn& txn : preparer.prepare(request, zxid, 1'700'000'000'000)) {
      zxid = txn.zxid.next();
      all.push_back(txn.bytes);
    }
  };
  run(tree::OpCode::kCreateSession, tree::create_session_body(5'000));
  run(tree::OpCode::kCreate, tree::create_body("/a", "x", tree::open_acl(), 0));
  for (auto& [type, body] : requests()) run(type, body);
  run(tree::OpCode::kCloseSession, "");
  return all;
}

// Of getData and getChildren: a path, and whether to watch it.
std::string read_body(std::string_view path) {
  std::string body;
  tree::jute::Writer(body).string(path);
  return body + '\0';
}

std::string snapshot_bytes() {
  tree::Tree tree;
  std::string bytes;
  std::unique_ptr<tree::SnapshotCursor> cursor = tree.begin_snapshot();
  while (cursor->next(bytes, 1'000)) {
  }
  return bytes;
}

void link() {
  using consensus::Packet, consensus::PacketType;
  std::string bytes(1, '\x20');
  encode_packet(Packet(PacketType::kSnap, tree::Zxid{7}), bytes);
  bytes += snapshot_bytes();
  tree::jute::Writer(bytes).string(consensus::kSnapshotSignature);
  for (const std::string& txn : txns()) {
    encode_packet(Packet(PacketType::kProposal, tree::Zxid{8}, txn), bytes);
  }
  encode_packet(Packet(PacketType::kFollowerInfo, tree::Zxid{},
                       consensus::encode_learner_info({tree::ServerId{1}, 0, true})),
                bytes);
  seed(bytes);
}

// All that leads to a copy; and without a part of it each.
void leader() {
  LiveLeader leader;
  leader.create("/a", 1);
  std::vector<std::string> parts = {leader.info(), leader.snap(1) + leader.snapshot()};
  leader.create("/b", 2);
  leader.create("/c", 3);
  leader.create("/d", 4);
  parts.insert(parts.end(),
               {leader.inform(2), leader.proposal(3) + leader.commit(3), leader.new_leader(),
                leader.ping(), leader.inform(4), leader.up_to_date()});
  for (size_t left_out = 0; left_out <= parts.size(); ++left_out) {
    std::string bytes(1, static_cast<char>(left_out));
    for (size_t i = 0; i < parts.size(); ++i) bytes += i == left_out ? "" : parts[i];
    seed(bytes);
  }
}

// A member joins, opens a session, and asks for something in it and in another's (fuzz_peers.cc).
void peers() {
  auto step = [](char kind, std::string bytes) {
    return std::string{kind, 0, static_cast<char>(bytes.size())} + bytes;
  };
  std::string joined = step(0, "") + step(2, std::string("\x02\x00", 2)) + step(6, "");
  joined += step(4, std::string(4, '\0')) + step(6, "");
  for (char type = 1; type < 12; ++type) {
    std::string request{type, 1, 0, 0};
    seed(joined + step(4, request) + step(3, request) + step(6, ""));
  }
  std::string bytes;
  encode_packet(consensus::Packet(consensus::PacketType::kFetchTxns, tree::Zxid{},
                                  std::string("\0\0\0\0", 4) +
                                      consensus::encode_learner_info({tree::ServerId{2}, 0, true})),
                bytes);
  seed(joined + step(1, bytes) + step(6, ""));
}

// What fuzz_java.cc takes.
void java() {
  tree::Tree tree;
  std::string all(1, '\4');
  for (const std::string& bytes : txns()) {
    all += {static_cast<char>(bytes.size() / 256), static_cast<char>(bytes.size() % 256)};
    all += bytes;
    if (auto txn = tree::decode_txn(bytes)) tree.apply(*txn, nullptr);
  }
  seed(all);
  tree::JavaSnapshotWriter writer(tree);
  std::string snapshot;
  while (writer.next(snapshot, 1'000)) {
  }
  seed(std::string(1, '\0') + snapshot);
  seed("\1\x1f\x8b\x08");
  seed(std::string("\2\x82SNAPPY\0\0\0\0\1\0\0\0\1\0\0\0\5\3\10abc", 26));
  std::string log("\3ZKLG", 5);
  tree::jute::Writer out(log);
  out.i32(2);
  out.i64(0);
  out.i64(0x0c8f0260);
  out.string("an entry");
  out.byte('B');
  seed(log);
}

void storage() {
  using namespace consensus::log_format;
  std::string log(1, '\0');
  log += encode_segment_header({0, 1, tree::Zxid{}, 0, 1});
  uint32_t chain = 0, counter = 0;
  for (const std::string& txn : txns()) {
    RecordHeader header;
    header.chain = chain;
    header.zxid = tree::Zxid::make(1, ++counter);
    header.synced = static_cast<uint32_t>(log.size() - 1);
    encode_record(header, txn, log);
    chain = header.sum;
  }
  seed(log);
  seed("\x01" + snapshot_bytes());
  seed(std::string("\x02ZABFEPOC") + std::string(20, '\0'));
}

std::vector<transfer::Entry> entries() {
  transfer::Entry top, folder, file, link;
  top.kind = folder.kind = tree::Kind::kDirectory;
  folder.path = "d";
  folder.data = "own";
  folder.acl = {{31, {"sasl", "a:b"}}};
  folder.is_container = true;
  file.path = "d/f";
  file.mode = 04755;
  file.mtime = {1'700'000'000, 5};
  file.ttl_ms = 1'000;
  file.data = "some data";
  link.path = "d/link";
  link.kind = tree::Kind::kSymlink;
  link.data = "../f";
  return {top, folder, file, link};
}

void transfers() {
  std::string stream(1, '\x40');
  transfer::End end;
  encode(transfer::Header{tree::Zxid::make(1, 5), 1, 2, true, true}, stream);
  for (const transfer::Entry& entry : entries()) {
    encode(entry, stream);
    end.entries += 1;
    end.bytes += static_cast<int64_t>(entry.data.size());
  }
  encode(transfer::LeftOut{"d/secret", transfer::Reason::kNoAccess}, stream);
  encode(end, stream);
  seed(stream);
}

void archives() {
  using zabfs::archive::Packing;
  for (Packing packing : {Packing::kNone, Packing::kGzip, Packing::kXz, Packing::kZstd}) {
    int fd = ::memfd_create("archive", MFD_CLOEXEC);
    zabfs::archive::ArchiveSink sink(fd, "archive", packing);
    bool is_ok = true;
    for (const transfer::Entry& entry : entries()) is_ok = is_ok && sink.put(entry).ok();
    if (!is_ok || !sink.finish().ok()) std::abort();
    std::string bytes(static_cast<size_t>(::lseek(fd, 0, SEEK_END)), '\0');
    if (::pread(fd, bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
      std::abort();
    }
    seed(bytes);
    ::close(fd);
  }
}

// As fuzz_backup.cc tells files and contents apart.
void backups() {
  backup::Header header;
  header.zxid = tree::Zxid{7};
  header.version = "0.1.0";
  header.members = {"server.1=a:1:2:participant;3"};
  std::string file(1, '\0');
  backup::BackupWriter writer([&file](std::string_view bytes) {
    file.append(bytes);
    return Status();
  });
  bool is_written = writer.begin(header).ok() && writer.add(snapshot_bytes()).ok();
  if (!is_written || !writer.finish().ok()) return;
  seed(file);
  std::string lasting;
  tree::LastingSnapshot filter;
  if (!filter.feed(snapshot_bytes(), lasting).ok()) return;
  seed("\xff" + backup::header_text(header) + backup::length_bytes(lasting.size()) + lasting +
       backup::length_bytes(0) + backup::trailer_text(filter.counts()));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::string name = argv[1];
  directory = argv[2];
  std::filesystem::create_directories(directory);
  if (name == "archive") archives();
  if (name == "transfer") transfers();
  if (name == "backup") backups();
  if (name == "java") java();
  if (name == "leader") leader();
  if (name == "link") link();
  if (name == "peers") peers();
  if (name == "storage") storage();
  if (name == "txn") {
    for (const std::string& txn : txns()) seed(txn);
  }
  if (name == "request") {
    char type = 0;
    for (auto& [op, body] : requests()) seed(std::string(1, type++) + body);
    posix_requests();
  }
  if (name == "notification") {
    consensus::Notification notification;
    notification.vote = {tree::ServerId{2}, tree::Zxid::make(1, 5), 1};
    notification.config = "server.1=h:1:2:participant\nversion=0";
    seed(encode_notification(notification));
  }
  if (name == "client") {
    for (char type = 0; type < 15; ++type) {
      seed(std::string(1, type) + tree::check_body("/zookeeper", 1));
      seed(std::string(1, type) +
           tree::multi_body({{tree::OpCode::kGetData, tree::check_body("/", 0)}}));
    }
    constexpr char kMultiRead = 6;  // of fuzz_client's list
    for (size_t times : {size_t{3}, size_t{400}}) {
      std::vector<tree::MultiOp> reads;
      for (size_t i = 0; i < times; ++i) {
        const char* paths[] = {"/a", "/a/b", "/s", "/nothing"};
        reads.push_back({i % 2 == 0 ? tree::OpCode::kGetData : tree::OpCode::kGetChildren,
                         read_body(paths[i % 4])});
        reads.push_back({tree::OpCode::kGetData, read_body("/a")});
      }
      seed(std::string(1, kMultiRead) + tree::multi_body(reads));
    }
    seed(std::string(1, 15) + std::string(45, '\0'));
    seed(std::string(1, 16) + "username=\"u\",nonce=\"nonce\",nc=00000001,qop=auth,response=0");
    seed(std::string(1, 17) + "count=3,bytes=-1=;byteHardLimit=9;countHardLimit=5");
  }
  if (name == "text") {
    seed("world:anyone:cdrwa\ndigest:u:p=:rw\n");
    seed("world:anyone:r\ndigest:zabfs-posix,f,2755,10,20,1600000000.000000005@3:x:\n");
    seed("[::1]:2888:3888:observer;0.0.0.0:2181");
  }
  return 0;
}
