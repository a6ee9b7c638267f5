// The four-letter words: one word on a connection of its own, answered in text
// (FORMATS.md 1.17; Java: org.apache.zookeeper.server.command).
//
// On the strand. Only words on the whitelist are answered.
#pragma once

#include <string>

namespace zabfs::fsd::wire {

class WireServer;
struct ServerFacts;

bool is_word(const std::string& word);
std::string answer_word(WireServer& server, const std::string& word);
// The answer to `srvr`.
std::string srvr_text(const ServerFacts& facts);

}  // namespace zabfs::fsd::wire
