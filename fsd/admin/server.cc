#include "fsd/admin/server.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/src.hpp>  // the library is header-only here: this file is its one source
#include <chrono>
#include <memory>
#include <utility>

#include "fsd/admin/commands.h"
#include "fsd/facts/health.h"

namespace zabfs::fsd::admin {

namespace json = boost::json;

namespace {

constexpr auto kAnswerTime = std::chrono::seconds(3);
constexpr const char* kJson = "application/json";

HttpListener::Options options_of(const AdminConfig& config) {
  return {"admin port",       config.address,  config.port.value_or(0),
          config.accepts_tls, config.only_tls, config.tls};
}

HttpListener::Answer in_json(const json::object& object, unsigned status = 200) {
  return {status, kJson, json::serialize(object) + "\n"};
}

json::array numbers_of(const std::vector<tree::ServerId>& ids) {
  json::array numbers;
  for (tree::ServerId id : ids) numbers.emplace_back(id.value);
  return numbers;
}

HttpListener::Answer readiness(const consensus::Replica& replica) {
  Health health = health_of(replica);
  std::string why = health.why_not_ready();
  json::array lagging, notes;
  for (const Health::Lag& lag : health.lagging) {
    lagging.push_back(json::object{{"member", lag.id.value}, {"txns", lag.txns}});
  }
  for (const std::string& note : health.notes) notes.emplace_back(note);
  json::object body{{"ready", why.empty()},
                    {"reason", nullptr},
                    {"lost", numbers_of(health.lost)},
                    {"lagging", std::move(lagging)},
                    {"notes", std::move(notes)}};
  if (!why.empty()) body["reason"] = why;
  return in_json(body, why.empty() ? 200 : 503);
}

HttpListener::Answer silence(bool asks_ready) {
  std::string why = fmt::format("the node has not answered for {} s", kAnswerTime.count());
  return in_json({{asks_ready ? "ready" : "live", false}, {"reason", why}}, 503);
}

}  // namespace

AdminServer::AdminServer(consensus::Service& service, wire::WireServer* clients, AdminConfig config)
    : service_(service),
      clients_(clients),
      config_(std::move(config)),
      listener_(service, options_of(config_),
                [this](const HttpListener::Request& request, const Reply& reply) {
                  answer(request, reply);
                }) {
  if (clients_ != nullptr) snapshot_.emplace(service_, *clients_);
}

void AdminServer::answer(const HttpListener::Request& request, const Reply& reply) {
  const std::string& path = request.path;
  if (path == "/health/live") return answer_health(false, reply);
  if (path == "/health/ready") return answer_health(true, reply);
  if (path == config_.path || path.starts_with(config_.path + "/")) {
    return answer_commands(request, reply);
  }
  reply({404, "text/plain", "see " + config_.path + ", /health/live and /health/ready\n"});
}

void AdminServer::answer_commands(const HttpListener::Request& request, const Reply& reply) {
  const std::string& path = request.path;
  if (path == config_.path || path == config_.path + "/") {
    std::string page;
    std::vector<std::string> names = command_names();
    names.insert(names.end(), {"snapshot", "restore"});
    for (const std::string& name : names) {
      page += fmt::format("<a href=\"{0}/{1}\">{1}</a>\n<br/>\n", config_.path, name);
    }
    return reply({200, "text/html", std::move(page)});
  }
  std::string name = path.substr(config_.path.size() + 1);
  if (clients_ == nullptr) {
    return reply(
        in_json({{"command", name}, {"error", "this node has no clientPort, and so no commands"}}));
  }
  if (SnapshotCommand::is_name(name)) return snapshot_->run(name, request, reply);
  if (request.is_post) {
    return reply(in_json({{"command", name}, {"error", "this command is a GET"}}, 405));
  }
  service_.post([this, reply, name] { reply(in_json(run_command(*clients_, name))); });
}

// A strand that is stuck does not answer at all.
void AdminServer::answer_health(bool asks_ready, const Reply& reply) {
  auto silent = std::make_shared<boost::asio::steady_timer>(listener_.io(), kAnswerTime);
  silent->async_wait([reply, asks_ready, silent](boost::system::error_code cancelled) {
    if (!cancelled) reply(silence(asks_ready));
  });
  service_.post([this, reply, asks_ready, silent] {
    reply(asks_ready ? readiness(service_.replica())
                     : in_json({{"live", true}, {"reason", nullptr}}));
    boost::asio::post(listener_.io(), [silent] { silent->cancel(); });
  });
}

}  // namespace zabfs::fsd::admin
