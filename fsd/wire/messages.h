// What ZooKeeper's clients and this server say to each other, in ZooKeeper 3.8's bytes
// (FORMATS.md section 1). Frames are a length and a record; after the connect exchange
// each record begins with a header.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tree/jute.h"
#include "tree/tree.h"
#include "tree/watches.h"

namespace zabfs::fsd::wire {

struct ConnectRequest {
  tree::Zxid last_zxid;  // the newest that the client has seen
  int32_t timeout_ms = 0;
  tree::SessionId session;  // 0: a new one
  std::string password;
  std::optional<bool> read_only;  // clients before 3.4 don't say
};
std::optional<ConnectRequest> decode_connect_request(std::string_view record);

// One frame: its length is filled in at the end of its life.
class Frame {
 public:
  explicit Frame(std::string& out) : out_(out), start_(out.size()) { out.append(4, '\0'); }
  ~Frame();
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

 private:
  std::string& out_;
  size_t start_;
};

inline constexpr size_t kPasswordBytes = 16;
// A refusal is timeout 0, session 0.
void append_connect_response(std::string& out, int32_t timeout_ms, tree::SessionId session,
                             std::string_view password, std::optional<bool> read_only);
void write_reply_header(tree::jute::Writer& out, int32_t xid, tree::Zxid zxid, tree::Error error);
// A reply without a body.
void append_reply(std::string& out, int32_t xid, tree::Zxid zxid, tree::Error error);
// The reply to a write, from what came of it.
void append_outcome(std::string& out, int32_t xid, tree::OpCode type, const tree::Outcome& outcome);
void append_event(std::string& out, tree::EventType type, std::string_view path);

// Requests that go to the leader. This node answers the others (reads.h), or refuses them.
bool is_write(tree::OpCode type);

inline constexpr int32_t kPingXid = -2;

}  // namespace zabfs::fsd::wire
