#include "consensus/barriers.h"

#include <utility>

namespace zabfs::consensus {

namespace {

template <class What>
bool is_due(const std::multimap<Zxid, What>& waiting, Zxid reached) {
  return !waiting.empty() && waiting.begin()->first <= reached;
}

template <class What>
What take_first(std::multimap<Zxid, What>& waiting) {
  What first = std::move(waiting.begin()->second);
  waiting.erase(waiting.begin());
  return first;
}

}  // namespace

void Barriers::add(SessionId session, Completion done) {
  waiting_.push_back({session, std::move(done)});
}

SessionId Barriers::send_next() {
  sent_.push_back(std::move(waiting_.front()));
  waiting_.pop_front();
  return sent_.back().session;
}

void Barriers::answered(Zxid committed) {
  if (sent_.empty()) return;
  until_applied_.emplace(committed, std::move(sent_.front().done));
  sent_.pop_front();
}

Barriers::Question Barriers::ask_next() {
  Question question{next_token_++, waiting_.front().session};
  confirming_.emplace(question.token, std::move(waiting_.front()));
  waiting_.pop_front();
  return question;
}

Barriers::Token Barriers::ask_for(LinkId learner) {
  Token token = next_token_++;
  confirming_.emplace(token, learner);
  return token;
}

void Barriers::reply_when_committed(Zxid zxid, Reply reply) {
  until_committed_.emplace(zxid, std::move(reply));
}

void Barriers::confirmed(Token token, Zxid proposed) {
  auto question = confirming_.find(token);
  if (question == confirming_.end()) return;
  if (auto* own = std::get_if<Barrier>(&question->second)) {
    until_applied_.emplace(proposed, std::move(own->done));
  } else {
    LinkId learner = std::get<LinkId>(question->second);
    reply_when_committed(proposed, {learner, Packet(PacketType::kSync, Zxid{})});
  }
  confirming_.erase(question);
}

std::optional<Barriers::Reply> Barriers::take_committed(Zxid committed) {
  if (!is_due(until_committed_, committed)) return std::nullopt;
  return take_first(until_committed_);
}

std::optional<Completion> Barriers::take_applied(Zxid applied) {
  if (!has_applied(applied)) return std::nullopt;
  return take_first(until_applied_);
}

bool Barriers::has_applied(Zxid applied) const { return is_due(until_applied_, applied); }

std::vector<Completion> Barriers::take_older_than(uint32_t epoch) {
  std::vector<Completion> taken;
  while (!until_applied_.empty() && until_applied_.begin()->first.epoch() < epoch) {
    taken.push_back(take_first(until_applied_));
  }
  return taken;
}

void Barriers::leave_role() {
  for (Barrier& barrier : sent_) waiting_.push_back(std::move(barrier));
  sent_.clear();
  for (auto& [token, any] : confirming_) {
    if (auto* own = std::get_if<Barrier>(&any)) waiting_.push_back(std::move(*own));
  }
  confirming_.clear();
  until_committed_.clear();
}

}  // namespace zabfs::consensus
