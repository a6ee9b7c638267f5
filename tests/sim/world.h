// A whole ensemble in one thread: the production replica and core over a simulated clock, network
// and disk. Everything follows from the seed.
//
// world.cc is time, network and faults; sim_node.cc is one machine with its disk.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <queue>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "consensus/replica.h"
#include "consensus/service.h"
#include "sim/invariants.h"
#include "sim/sim_disk.h"

namespace zabfs::sim {

using consensus::LinkId;
using tree::ServerId;

inline constexpr int64_t kSecondUs = 1'000'000;
inline constexpr int64_t kMillisecondUs = 1'000;
inline constexpr size_t kMaxUnsentBytes = 256u << 10;  // of a link; one that waits for more is cut

// As every node's zoo.cfg has it (ReplicaConfig::super_digest).
inline constexpr const char* kSimSuperDigest = "super:secret";

struct WorldOptions {
  uint64_t seed = 1;
  size_t voters = 3;
  size_t observers = 0;
  ServerId joiner;  // a voter that is not there at first; the others are told to begin without it
  bool grouped = false;         // quorums are hierarchical
  bool reconfigures = false;    // members come and go
  bool rough_start = false;     // faults from the first moment on
  uint32_t txns_per_epoch = 0;  // an epoch is used up after so many; 0: never
  bool enforces_quota = false;
  bool trace = false;           // print it as it happens
  int64_t bytes_per_s = 0;      // of a link, each way; 0: no limit
  size_t ballast_bytes = 0;     // that clients put into the tree, so that a snapshot of it is long
  bool separate_disks = false;  // for the log and for snapshots
};

class SimNode;

class World {
 public:
  explicit World(WorldOptions options);
  ~World();

  int64_t now_us() const { return now_us_; }
  // Runs `event` that many microseconds from now; not at all if `node`'s life ends before, and
  // later if the node is paused then, or deaf to what is `heard`: timers and the network.
  void after(int64_t delay_us, std::function<void()> event, const SimNode* node = nullptr,
             bool heard = false);
  void run_until(int64_t time_us);
  uint64_t random(uint64_t bound) { return random_() % bound; }
  int64_t random_us(int64_t bound_us) {
    return static_cast<int64_t>(random(static_cast<uint64_t>(bound_us)));
  }
  bool chance(uint64_t one_in) { return random(one_in) == 0; }

  std::vector<std::unique_ptr<SimNode>>& nodes() { return nodes_; }
  SimNode& node(ServerId id) { return *nodes_[static_cast<size_t>(id.value - 1)]; }
  Invariants& invariants() { return invariants_; }
  const WorldOptions& options() const { return options_; }
  // The newest configuration that is in force anywhere, and those proposed after it.
  std::vector<consensus::Ensemble> configurations() const;
  // As configured at first.
  const consensus::Ensemble& ensemble() const { return ensemble_; }
  // The last lines are kept for the report of a failure.
  void trace(const std::string& line);
  const std::deque<std::string>& recent_trace() const { return recent_trace_; }
  uint64_t events_run() const { return events_run_; }

  // Faults.
  void crash(SimNode& node);
  void restart(SimNode& node);
  void cut(ServerId from, ServerId to);  // one way
  void heal();
  void heal(ServerId from, ServerId to);
  bool is_cut(ServerId from, ServerId to) const { return cuts_.contains({from, to}); }
  bool is_cut_either_way(ServerId a, ServerId b) const { return is_cut(a, b) || is_cut(b, a); }
  // Somebody asks for other members.
  void reconfigures() { reconfigured_us_ = now_us_; }
  int64_t reconfigured_us() const { return reconfigured_us_; }
  // What `from` has sent on the links that are there now arrives no earlier.
  void make_late(ServerId from, int64_t until_us);
  void reset_links(ServerId a, ServerId b);
  // What travels from one to the other arrives no earlier than that.
  void stall(ServerId from, ServerId to, int64_t until_us);

  // The network, for SimNode.
  void deliver_vote(ServerId from, ServerId to, const consensus::Notification& vote);
  void dial(ServerId from, ServerId to, LinkId link);
  void send(ServerId from, LinkId link, const std::string& bytes);
  consensus::LinkFlow flow(ServerId from, LinkId link);
  // What the sender has to keep, beside what its kernel does.
  size_t unsent(ServerId from, LinkId link);
  // A link that was held is read from again.
  void release(ServerId node, LinkId link);
  void close(ServerId from, LinkId link);
  size_t link_count(ServerId node) const;
  void close_all(ServerId node);

 private:
  struct Scheduled {
    int64_t time_us;
    uint64_t number;
    std::function<void()> event;
    ServerId node;  // 0: nobody's
    bool heard;
    uint64_t life;
    bool operator>(const Scheduled& other) const {
      return std::pair(time_us, number) > std::pair(other.time_us, other.number);
    }
  };
  // One way of a connection.
  struct Stream {
    int64_t last_delivery_us = 0;
    consensus::LinkFlow flow;
    std::deque<std::string> unread;  // came, and the link is held
    int64_t late_until_us = 0;       // what is under way arrives no earlier
    bool cut_short = false;          // what is under way never arrives
  };
  // One learner link: the two ends name it differently.
  struct Connection {
    ServerId ends[2];
    LinkId links[2];
    Stream streams[2];                // from either end
    bool closed[2] = {false, false};  // by that end, or there is nobody any more
    bool broken = false;              // a message was lost: nothing more may arrive
  };
  using LinkKey = std::pair<ServerId, LinkId>;
  struct LinkHash {
    size_t operator()(const LinkKey& key) const {
      return std::hash<uint64_t>()(key.second * 31 + static_cast<uint64_t>(key.first.value));
    }
  };
  std::shared_ptr<Connection> find_connection(ServerId node, LinkId link, int& end);
  void arrive(const std::shared_ptr<Connection>& connection, int end, const std::string& bytes);
  void read(const std::shared_ptr<Connection>& connection, int end);
  void lose(const std::shared_ptr<Connection>& connection, int64_t delay_us);
  void repeat_votes(ServerId from, ServerId to);
  std::vector<std::string> split(const std::string& bytes);
  int64_t not_before(ServerId from, ServerId to) const;

  WorldOptions options_;
  const consensus::Ensemble ensemble_;
  std::mt19937_64 random_;
  int64_t now_us_ = 0, reconfigured_us_ = 0;
  uint64_t next_event_ = 0;
  uint64_t events_run_ = 0;
  std::priority_queue<Scheduled, std::vector<Scheduled>, std::greater<>> events_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  Invariants invariants_;
  std::set<std::pair<ServerId, ServerId>> cuts_;
  std::map<std::pair<ServerId, ServerId>, int64_t> stalls_;
  std::unordered_map<LinkKey, std::shared_ptr<Connection>, LinkHash> connections_;
  std::map<std::pair<ServerId, ServerId>, consensus::Notification> last_votes_;
  std::deque<std::string> recent_trace_;
};

class SimNode : public consensus::Environment,
                public consensus::Transport,
                public consensus::Service,
                public consensus::ReplicaListener {
 public:
  SimNode(World& world, ServerId id);
  static consensus::Member as_member(ServerId id, bool observer);
  // Three groups or fewer, with weights that differ; one voter may have none.
  static consensus::Hierarchy groups_of(const std::map<ServerId, consensus::Member>& members);
  static consensus::Ensemble make_ensemble(const WorldOptions& options);

  ServerId id() const { return id_; }
  // As configured at first.
  bool is_voter() const { return static_cast<size_t>(id_.value) <= world_.options().voters; }
  uint64_t life() const { return life_; }
  bool is_up() const { return replica_ != nullptr; }
  bool is_paused() const { return world_.now_us() < paused_until_us_; }
  int64_t held_until_us(bool heard) const {
    return heard ? std::max(paused_until_us_, deaf_until_us_) : paused_until_us_;
  }
  // Of the log, and of snapshots and promises; perhaps the same.
  std::vector<SimDisk*> disks();
  bool is_disk_limited();
  SimDisk& disk() { return disk_; }
  SimDisk& snapshot_disk() { return *disks().back(); }
  bool is_held(LinkId link) const { return held_.contains(link); }

  void start();
  void stop();
  // Runs something on the replica's strand, then ends the batch. A crash may strike inside.
  template <class Body>
  void on_strand(const Body& body) {
    if (!is_up()) return;
    try {
      body();
      replica_->end_of_batch();
      after_step();
    } catch (const CrashNow&) {
      world_.crash(*this);
    }
  }

  // Votes that nobody has cast make all of them vote anew.
  void forget_votes() { votes_sent_us_.clear(); }

  // Faults of the machine.
  void pause(int64_t us);
  // Its clients and its disk go on; timers and the network wait, as when one thread starves.
  // With `only_barriers` its clients write nothing then, which would make a barrier wait.
  void go_deaf(int64_t us, bool only_barriers);
  bool wants_only_barriers() const { return only_barriers_ && world_.now_us() < deaf_until_us_; }
  // All of the machine stands still. Afterwards timers come as late as it stood.
  void suspend(int64_t us);
  // Timers come up to so much late.
  void delay_timers(int64_t up_to_us, int64_t us);
  void slow_down(int64_t factor, int64_t us);
  // What is to be written next takes that much longer.
  void hang_disk(int64_t us) { io_.free_us = std::max(io_.free_us, world_.now_us()) + us; }
  void jump_wall_clock(int64_t ms) { wall_offset_ms_ += ms; }
  // Faults of the disk, which make it lose what it had: it may have to do without its vote.
  void wipe(const std::vector<SimDisk*>& disks);
  void expect_damage() { damage_expected_ = impaired_ = true; }
  // Lost something, and has not been seen whole since.
  bool is_impaired() const { return impaired_; }
  // Ever had a vote on this disk.
  bool has_promised() const { return had_vote_; }
  bool is_whole() const { return had_vote_ && !impaired_; }
  // As it is, or was when the node went down.
  const consensus::Membership& membership() const { return membership_; }
  // A failure that ends the process is to come.
  void expect_death() { death_expected_ = true; }

  // Environment
  int64_t now_ms() override { return local_us(world_.now_us()) / 1000 + skew_ms_; }
  int64_t wall_ms() override { return 1'700'000'000'000 + now_ms() + wall_offset_ms_; }
  uint64_t random() override { return world_.random(UINT64_MAX); }
  void wake_at(int64_t time_ms) override;
  void run_io(std::function<void()> job, std::function<void()> done) override;
  void run_background(std::function<void()> job, std::function<void()> done) override;
  void log(consensus::LogLevel level, const std::string& line) override;
  void die(const std::string& why) override;
  // Service
  void post(std::function<void()> event) override;
  void post_after(int64_t delay_ms, std::function<void()> event) override;
  consensus::Replica& replica() override { return *replica_; }
  // Transport
  void set_members(const std::map<ServerId, consensus::Member>&) override {}
  void send_vote(ServerId to, const consensus::Notification& notification) override;
  void dial(ServerId leader, LinkId link) override;
  void send(LinkId link, const std::string& bytes) override;
  size_t unsent(LinkId link) override { return world_.unsent(id_, link); }
  consensus::LinkFlow flow(LinkId link) override { return world_.flow(id_, link); }
  void hold(LinkId link, bool held) override;
  void close(LinkId link, const std::string& reason) override;
  void flush() override {}
  // ReplicaListener
  void before_publish(const std::vector<tree::Txn>& txns) override;
  void published(const std::vector<tree::Change>& changes) override;
  void before_replace() override;
  void tree_replaced() override;
  void standing_changed() override {}

  // Shared: a link may be closed by what its reader hands over.
  std::shared_ptr<consensus::LinkReader> reader(LinkId link) {
    std::shared_ptr<consensus::LinkReader>& reader = readers_[link];
    if (!reader) reader = std::make_shared<consensus::LinkReader>();
    return reader;
  }
  void forget_reader(LinkId link) {
    readers_.erase(link);
    held_.erase(link);
  }

 private:
  // A thread for blocking work: jobs run one after the other, and what each has done is told to the
  // strand in that order, each when the strand comes to it.
  struct SimLane {
    int64_t free_us = 0, told_us = 0;
  };
  void run_lane(SimLane& lane, int64_t time_us, std::function<void()> job,
                std::function<void()> done);
  consensus::ReplicaConfig make_config() const;
  void check_bounds();
  int64_t local_us(int64_t us) const { return us + us * drift_ppm_ / 1'000'000; }
  void check_vote();
  void arm();
  // What must hold of a node (node_checks.cc).
  struct Durable;
  Durable after_worst_crash() const;
  void check_sent(LinkId link, const std::string& bytes);
  void check_ack(tree::Zxid zxid);
  void check_new_leader_ack(uint32_t epoch);
  void check_promise(uint32_t epoch);
  void check_limits(tree::Zxid zxid, size_t txn_bytes);
  void check_primary(tree::Zxid zxid);
  void check_durable();
  void check_prefix();
  void count_vote(ServerId to);
  void after_step();

  World& world_;
  ServerId id_;
  SimDisk disk_, snapshot_disk_;
  std::unique_ptr<consensus::Replica> replica_;
  std::unordered_map<LinkId, std::shared_ptr<consensus::LinkReader>> readers_;
  std::set<LinkId> held_;
  uint64_t life_ = 0;
  int64_t skew_ms_ = 0;
  int64_t drift_ppm_ = 0;
  int64_t wall_offset_ms_ = 0;
  SimLane io_, background_;
  int64_t paused_until_us_ = 0;
  int64_t deaf_until_us_ = 0;
  bool only_barriers_ = false;
  int64_t slow_until_us_ = 0;
  int64_t slow_factor_ = 1;
  int64_t armed_us_ = INT64_MAX;
  int64_t timers_late_until_us_ = 0;
  int64_t timers_late_us_ = 1;
  tree::Zxid checked_durable_;
  uint64_t acks_ = 0;
  uint64_t wake_number_ = 0;
  std::map<ServerId, std::deque<int64_t>> votes_sent_us_;  // within the last second
  consensus::Membership membership_;
  bool told_to_initialize_ = false;  // ZooKeeper's file is there
  bool had_vote_ = false;
  bool impaired_ = false;
  bool damage_expected_ = false;
  bool death_expected_ = false;
  bool closed_session_ = false;           // in the batch being published
  const tree::Tree* replaced_ = nullptr;  // the tree that is about to go
};

}  // namespace zabfs::sim
