// One replica by hand: its lanes and its peers do what the test says, and no more. What becomes of
// a node that can't go on is the test's to say (`die`).
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "consensus/replica.h"
#include "sim/sim_disk.h"
#include "tree/request.h"

namespace zabfs::consensus {

class LoneReplica : public Environment, public Transport {
 protected:
  LoneReplica() {
    // A voter that is a quorum, and an observer.
    std::map<ServerId, Member> members;
    members[ServerId{1}] = Member{"h", 1, 2, false, ""};
    members[ServerId{2}] = Member{"h", 1, 2, true, ""};
    config_.zab.me = ServerId{1};
    config_.zab.ensemble = Ensemble(members);
    config_.zab.tick_ms = 1'000;
    config_.initialize = true;
    config_.segment_bytes = 8u << 10;
    config_.snapshot_retain = 2;
  }

  void start() {
    replica_.reset();
    jobs_.clear();
    replica_ = std::make_unique<Replica>(config_, *this, *this, log_disk_, snapshot_disk_);
    if (Status status = replica_->recover(); !status.ok()) return die(status.why());
    replica_->start();
    run();
  }
  // One thing on the strand.
  template <class Body>
  void on_strand(const Body& body) {
    body();
    replica_->end_of_batch();
  }
  void run_one() {
    auto [job, done] = std::move(jobs_.front());
    jobs_.pop_front();
    job();
    on_strand(done);
  }
  void run() {
    while (!jobs_.empty()) run_one();
  }
  void pass(int64_t ms) {
    now_ms_ += ms;
    on_strand([this] { replica_->on_timer(); });
  }
  void create(const std::string& path, size_t bytes = 100) {
    tree::Request request =
        tree::superuser_request({}, ++cxid_, tree::OpCode::kCreate,
                                tree::create_body(path, std::string(bytes, 'x'), tree::open_acl(),
                                                  tree::kCreatePersistent));
    on_strand([&] {
      replica_->submit(std::move(request),
                       [this](const tree::Outcome& outcome) { last_error_ = outcome.error; });
    });
  }
  void receive(LinkId link, Packet packet) {
    on_strand([&] { replica_->on_packet(link, std::move(packet)); });
  }

  int64_t now_ms() override { return now_ms_; }
  int64_t wall_ms() override { return now_ms_; }
  uint64_t random() override { return 7; }
  void wake_at(int64_t) override {}
  void run_io(std::function<void()> job, std::function<void()> done) override {
    jobs_.emplace_back(std::move(job), std::move(done));
  }
  void run_background(std::function<void()> job, std::function<void()> done) override {
    jobs_.emplace_back(std::move(job), std::move(done));
  }
  void log(LogLevel, const std::string&) override {}
  void set_members(const std::map<ServerId, Member>&) override {}
  void send_vote(ServerId, const Notification&) override {}
  void dial(ServerId, LinkId link) override { dials_.push_back(link); }
  void send(LinkId link, const std::string& bytes) override { sent_[link] += bytes; }
  size_t unsent(LinkId) override { return 0; }
  LinkFlow flow(LinkId link) override { return {sent_[link].size(), sent_[link].size()}; }
  void hold(LinkId link, bool held) override { held_[link] = held; }
  void close(LinkId, const std::string&) override {}
  void flush() override {}

  ReplicaConfig config_;
  sim::SimDisk log_disk_{1}, snapshot_disk_{2};
  std::unique_ptr<Replica> replica_;
  std::deque<std::pair<std::function<void()>, std::function<void()>>> jobs_;
  std::map<LinkId, std::string> sent_;
  std::map<LinkId, bool> held_;
  std::vector<LinkId> dials_;
  int64_t now_ms_ = 10'000;
  int32_t cxid_ = 0;
  tree::Error last_error_ = tree::Error::kOk;
};

}  // namespace zabfs::consensus
