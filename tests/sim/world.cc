#include "sim/world.h"

#include <fmt/format.h>

#include <algorithm>

namespace zabfs::sim {

using consensus::Notification;
using consensus::Packet;
using consensus::Replica;

namespace {

constexpr size_t kRecentLines = 60;
constexpr size_t kKernelBytes = 16u << 10;  // of a link that the sender has no more to do with
constexpr size_t kPacketBytes = 2u << 10;   // arrive together, where a link is slow

}  // namespace

World::World(WorldOptions options)
    : options_(options), ensemble_(SimNode::make_ensemble(options)), random_(options.seed) {
  for (size_t i = 1; i <= options_.voters + options_.observers; ++i) {
    nodes_.push_back(std::make_unique<SimNode>(*this, ServerId{static_cast<int64_t>(i)}));
  }
}

World::~World() = default;

void World::trace(const std::string& line) {
  std::string text = fmt::format("{:>10.3f} ms  {}", static_cast<double>(now_us_) / 1000, line);
  if (options_.trace) fmt::print("{}\n", text);
  recent_trace_.push_back(std::move(text));
  if (recent_trace_.size() > kRecentLines) recent_trace_.pop_front();
}

void World::after(int64_t delay_us, std::function<void()> event, const SimNode* node, bool heard) {
  events_.push(Scheduled{now_us_ + delay_us, next_event_++, std::move(event),
                         node != nullptr ? node->id() : ServerId{}, heard,
                         node != nullptr ? node->life() : 0});
}

void World::run_until(int64_t time_us) {
  while (!events_.empty() && events_.top().time_us <= time_us) {
    Scheduled next = std::move(const_cast<Scheduled&>(events_.top()));  // popped at once
    events_.pop();
    now_us_ = next.time_us;
    if (next.node != ServerId{}) {
      const SimNode& owner = node(next.node);
      if (owner.life() != next.life) continue;
      int64_t held_until_us = owner.held_until_us(next.heard);
      if (held_until_us > now_us_) {  // its order among the node's events stays
        next.time_us = held_until_us;
        events_.push(std::move(next));
        continue;
      }
    }
    ++events_run_;
    next.event();
  }
  now_us_ = std::max(now_us_, time_us);
}

std::vector<consensus::Ensemble> World::configurations() const {
  const consensus::Ensemble* newest = nullptr;
  for (const auto& node : nodes_) {
    const consensus::Ensemble& in_force = node->membership().in_force();
    if (newest == nullptr || in_force.version() > newest->version()) newest = &in_force;
  }
  std::vector<consensus::Ensemble> found{*newest};
  for (const auto& node : nodes_) {
    const consensus::Ensemble* proposed = node->membership().proposed();
    if (proposed != nullptr && proposed->version() > newest->version()) found.push_back(*proposed);
  }
  return found;
}

// ---- faults

void World::crash(SimNode& node) {
  if (!node.is_up()) return;
  trace(fmt::format("node {} crashes", node.id().value));
  node.stop();
  for (SimDisk* disk : node.disks()) disk->crash();
  close_all(node.id());
}

void World::restart(SimNode& node) {
  if (node.is_up()) return;
  trace(fmt::format("node {} starts", node.id().value));
  node.start();
  // As the real mesh: a new connection repeats the last vote.
  for (auto& other : nodes_) repeat_votes(other->id(), node.id());
}

void World::cut(ServerId from, ServerId to) { cuts_.insert({from, to}); }

void World::heal() {
  cuts_.clear();
  stalls_.clear();
  for (auto& from : nodes_) {
    for (auto& to : nodes_) repeat_votes(from->id(), to->id());
  }
}

void World::heal(ServerId from, ServerId to) {
  if (cuts_.erase({from, to}) == 0) return;
  repeat_votes(from, to);
  repeat_votes(to, from);
}

void World::stall(ServerId from, ServerId to, int64_t until_us) { stalls_[{from, to}] = until_us; }

int64_t World::not_before(ServerId from, ServerId to) const {
  if (stalls_.empty()) return 0;
  auto place = stalls_.find({from, to});
  return place == stalls_.end() ? 0 : place->second;
}

// ---- network

void World::repeat_votes(ServerId from, ServerId to) {
  auto place = last_votes_.find({from, to});
  if (place != last_votes_.end() && node(from).is_up()) {
    deliver_vote(from, to, Notification(place->second));
  }
}

void World::deliver_vote(ServerId from, ServerId to, const Notification& vote) {
  last_votes_[{from, to}] = vote;
  SimNode& target = node(to);
  if (!target.is_up() || is_cut_either_way(from, to)) return;
  int64_t at_us = std::max(now_us_ + 100 + random_us(2'000), not_before(from, to));
  after(
      at_us - now_us_,
      [&target, from, vote] { target.on_strand([&] { target.replica().on_vote(from, vote); }); },
      &target, true);
}

void World::dial(ServerId from, ServerId to, LinkId link) {
  SimNode& dialler = node(from);
  SimNode& target = node(to);
  after(
      100 + random_us(2'000),
      [this, &dialler, &target, link] {
        if (!target.is_up() || is_cut_either_way(dialler.id(), target.id())) {
          dialler.on_strand([&] { dialler.replica().on_link_down(link); });
          return;
        }
        auto connection = std::make_shared<Connection>();
        connection->ends[0] = dialler.id();
        connection->ends[1] = target.id();
        connection->links[0] = link;
        LinkId accepted = target.replica().new_link_id();
        connection->links[1] = accepted;
        connections_[{dialler.id(), link}] = connection;
        connections_[{target.id(), accepted}] = connection;
        target.on_strand([&] { target.replica().on_link_accepted(accepted); });
        if (dialler.is_up()) dialler.on_strand([&] { dialler.replica().on_link_up(link); });
      },
      &dialler, true);
}

std::shared_ptr<World::Connection> World::find_connection(ServerId node, LinkId link, int& end) {
  auto place = connections_.find({node, link});
  if (place == connections_.end()) return nullptr;
  end = place->second->links[0] == link && place->second->ends[0] == node ? 0 : 1;
  return place->second;
}

void World::send(ServerId from, LinkId link, const std::string& bytes) {
  int end = 0;
  std::shared_ptr<Connection> connection = find_connection(from, link, end);
  if (!connection || connection->broken) return;
  ServerId to = connection->ends[1 - end];
  if (is_cut(from, to)) {
    // Lost: TCP would retry; here the connection is as good as dead, and told so some time later.
    connection->broken = true;
    lose(connection, random_us(5 * kSecondUs));
    return;
  }
  if (unsent(from, link) > kMaxUnsentBytes) {
    close(from, link);
    SimNode& sender = node(from);
    return after(
        0, [&sender, link] { sender.on_strand([&] { sender.replica().on_link_down(link); }); },
        &sender);
  }
  Stream& stream = connection->streams[end];
  stream.flow.sent += bytes.size();
  for (std::string& piece : split(bytes)) {
    int64_t at = now_us_ + 50 + (chance(50) ? random_us(20'000) : random_us(500));
    int64_t takes_us = 1;
    if (options_.bytes_per_s != 0) {
      takes_us += static_cast<int64_t>(piece.size()) * kSecondUs / options_.bytes_per_s;
    }
    at = std::max({at, stream.last_delivery_us + takes_us, not_before(from, to)});
    stream.last_delivery_us = at;
    after(
        at - now_us_,
        [this, connection, end, piece = std::move(piece)] { arrive(connection, end, piece); },
        &node(to), true);
  }
}

// TCP knows no messages.
std::vector<std::string> World::split(const std::string& bytes) {
  std::vector<std::string> pieces;
  size_t at = 0;
  while (at < bytes.size()) {
    size_t size = bytes.size() - at;
    if (options_.bytes_per_s != 0) size = std::min(size, kPacketBytes);
    if (chance(4)) size = 1 + random(size);
    pieces.push_back(bytes.substr(at, size));
    at += size;
  }
  return pieces;
}

void World::arrive(const std::shared_ptr<Connection>& connection, int end,
                   const std::string& bytes) {
  Stream& stream = connection->streams[end];
  if (connection->closed[1 - end] || connection->broken || stream.cut_short) return;
  ServerId from = connection->ends[end], to = connection->ends[1 - end];
  if (options_.bytes_per_s != 0 && is_cut(from, to)) {
    connection->broken = true;
    return lose(connection, random_us(5 * kSecondUs));
  }
  stream.unread.push_back(bytes);
  read(connection, end);
}

void World::read(const std::shared_ptr<Connection>& connection, int end) {
  Stream& stream = connection->streams[end];
  SimNode& target = node(connection->ends[1 - end]);
  LinkId link = connection->links[1 - end];
  while (!connection->closed[1 - end] && stream.late_until_us <= now_us_ &&
         !stream.unread.empty() && target.is_up() && !target.is_held(link)) {
    std::string bytes = std::move(stream.unread.front());
    stream.unread.pop_front();
    bool had_no_room = stream.flow.sent - stream.flow.delivered > kKernelBytes;
    stream.flow.delivered += bytes.size();
    Replica& replica = target.replica();
    target.on_strand([&] {
      consensus::LinkReader::Handlers handlers;
      handlers.packet = [&](Packet packet) { replica.on_packet(link, std::move(packet)); };
      handlers.snapshot = [&](std::unique_ptr<tree::Tree> tree) {
        replica.on_snapshot(link, std::move(tree));
      };
      handlers.part = [&] { replica.on_part(link); };
      Status fed = target.reader(link)->feed(bytes, handlers);
      if (!fed.ok()) throw Violation("a peer sent malformed bytes: " + fed.why());
    });
    if (!had_no_room) continue;
    SimNode& sender = node(connection->ends[end]);
    after(
        0, [&sender] { sender.on_strand([] {}); }, &sender, true);
  }
}

void World::release(ServerId id, LinkId link) {
  int end = 0;
  std::shared_ptr<Connection> connection = find_connection(id, link, end);
  if (!connection) return;
  after(
      0, [this, connection, end] { read(connection, 1 - end); }, &node(id), true);
}

consensus::LinkFlow World::flow(ServerId from, LinkId link) {
  int end = 0;
  std::shared_ptr<Connection> connection = find_connection(from, link, end);
  return connection ? connection->streams[end].flow : consensus::LinkFlow{};
}

size_t World::unsent(ServerId from, LinkId link) {
  consensus::LinkFlow now = flow(from, link);
  uint64_t under_way = now.sent - now.delivered;
  return under_way > kKernelBytes ? under_way - kKernelBytes : 0;
}

// Without those that are closed already, of which a node that stands still has not heard yet.
size_t World::link_count(ServerId id) const {
  return static_cast<size_t>(
      std::count_if(connections_.begin(), connections_.end(), [id](const auto& any) {
        const Connection& connection = *any.second;
        return any.first.first == id && !connection.closed[0] && !connection.closed[1];
      }));
}

// Both ends learn that a connection is gone.
void World::lose(const std::shared_ptr<Connection>& connection, int64_t delay_us) {
  after(delay_us, [this, connection] {
    for (int end : {0, 1}) {
      if (std::exchange(connection->closed[end], true)) continue;
      SimNode& side = node(connection->ends[end]);
      LinkId link = connection->links[end];
      connections_.erase({side.id(), link});
      if (!side.is_up()) continue;
      after(
          0,
          [&side, link] {
            side.forget_reader(link);
            side.on_strand([&] { side.replica().on_link_down(link); });
          },
          &side, true);
    }
  });
}

void World::close(ServerId from, LinkId link) {
  int end = 0;
  std::shared_ptr<Connection> connection = find_connection(from, link, end);
  if (!connection) return;
  connections_.erase({from, link});
  node(from).forget_reader(link);
  connection->closed[end] = true;
  if (connection->closed[1 - end]) return;
  SimNode& other = node(connection->ends[1 - end]);
  LinkId other_link = connection->links[1 - end];
  // What was sent before it arrives before it; a reset overtakes it.
  Stream& stream = connection->streams[end];
  stream.cut_short = chance(3);
  int64_t at_us = std::max(now_us_ + 100 + random_us(1'000), not_before(from, other.id()));
  at_us = std::max({at_us, stream.last_delivery_us + 1, stream.late_until_us + 1});
  // Across a cut nobody hears of it until the other end tries to send, or gives up waiting.
  if (is_cut_either_way(from, other.id())) at_us += random_us(5 * kSecondUs);
  after(
      at_us - now_us_,
      [this, connection, end, &other, other_link] {
        if (std::exchange(connection->closed[1 - end], true)) return;
        connections_.erase({other.id(), other_link});
        other.forget_reader(other_link);
        other.on_strand([&] { other.replica().on_link_down(other_link); });
      },
      &other, true);
}

void World::make_late(ServerId from, int64_t until_us) {
  for (const auto& [key, connection] : connections_) {
    if (key.first != from) continue;
    int end = 0;
    find_connection(from, key.second, end);
    connection->streams[end].late_until_us = until_us;
    after(
        until_us - now_us_, [this, connection = connection, end] { read(connection, end); },
        &node(connection->ends[1 - end]), true);
  }
}

void World::close_all(ServerId id) {
  std::vector<LinkId> links;
  for (const auto& [key, connection] : connections_) {
    if (key.first == id) links.push_back(key.second);
  }
  std::sort(links.begin(), links.end());
  for (LinkId link : links) close(id, link);
}

void World::reset_links(ServerId a, ServerId b) {
  std::map<LinkId, std::shared_ptr<Connection>> found;
  for (const auto& [key, connection] : connections_) {
    if (key.first == a && (connection->ends[0] == b || connection->ends[1] == b)) {
      found.emplace(key.second, connection);
    }
  }
  for (auto& [link, connection] : found) lose(connection, 1);
}

}  // namespace zabfs::sim
