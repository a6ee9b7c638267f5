// A connection to a port of an Apache ZooKeeper server's, with or without TLS, for who has nothing
// else to do meanwhile: every call waits, as long as it is told and no longer. To look a name up
// takes as long as the resolver likes.
//
// Not thread-safe. Memory: kPieceBytes, and with TLS as much again.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "consensus/tls.h"
#include "fsd/beneath.h"
#include "tree/status.h"

namespace zabfs::migrate {

struct PeerAddress {
  std::string host;  // IPv6 without []
  uint16_t port = 0;

  std::string text() const;  // HOST:PORT, [IPV6]:PORT
};

// Failures are clauses that name no address.
class PeerConnection {
 public:
  using Limit = std::chrono::milliseconds;
  static constexpr size_t kPieceBytes = size_t{256} << 10;

  // `limit`: for each of the name's addresses. Null: no TLS.
  static StatusOr<std::unique_ptr<PeerConnection>> open(const PeerAddress& address, Limit limit,
                                                        consensus::TlsContext* tls);
  PeerConnection(const PeerConnection&) = delete;
  PeerConnection& operator=(const PeerConnection&) = delete;

  Status send(std::string_view bytes, Limit limit);
  // The peer hears that nothing more comes. Without TLS.
  void finish_sending();
  // At least one byte, until the next call; none: the peer has ended it.
  StatusOr<std::string_view> receive(Limit limit);

 private:
  PeerConnection(fsd::Descriptor socket, const std::string& host, consensus::TlsContext* tls);
  Status write(std::string_view bytes, Limit limit);
  Status flush_tls(Limit limit);
  StatusOr<std::string_view> read(Limit limit);

  const fsd::Descriptor socket_;
  const std::string host_;
  std::unique_ptr<consensus::TlsSession> tls_;
  std::string raw_, plain_;
};

}  // namespace zabfs::migrate
