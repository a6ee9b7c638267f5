// The four-letter words: one word on a connection of its own, answered in text
// (zookeeper-formats.md 1.17; Java: org.apache.zookeeper.server.command).
//
// On the strand. Only words on the whitelist are answered.
#pragma once

#include <string>
#include <vector>

namespace zabfs::fsd::wire {

class WireServer;
struct Connection;

bool is_word(const std::string& word);

class FourLetterWords {
 public:
  FourLetterWords(WireServer& server, const Connection& asker) : server_(server), asker_(asker) {}

  std::string answer(const std::string& word);

 private:
  std::string srvr() const;
  std::string stat() const;
  std::string cons() const;
  std::string conf() const;
  std::string mntr() const;
  std::string dump() const;
  std::string dirs() const;
  std::string envi() const;
  std::string wchs() const;
  std::string wchc() const;
  std::string wchp() const;
  std::string session_of(uint64_t watcher) const;
  std::string mode() const;
  size_t connection_count() const;

  WireServer& server_;
  const Connection& asker_;
};

}  // namespace zabfs::fsd::wire
