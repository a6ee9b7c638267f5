// A replica in production: its strand, its threads, its sockets and its clock.
//
// Threads: the io thread (sockets and the timer), the log lane (fsync), the background lane
// (snapshots), and whoever posts to the strand. The log lane and FUSE workers run the strand's
// events themselves when it is free (strand.h).
#pragma once

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "consensus/data_directory.h"
#include "consensus/environment.h"
#include "consensus/host_config.h"
#include "consensus/lane.h"
#include "consensus/limited_log.h"
#include "consensus/posix_disk.h"
#include "consensus/replica.h"
#include "consensus/service.h"
#include "consensus/strand.h"
#include "consensus/tcp_transport.h"
#include "consensus/tls.h"

namespace zabfs::consensus {

struct HostError {
  std::string what;  // empty: none
  bool is_configuration = false;
};

class Host : public Environment, public Service {
 public:
  explicit Host(HostConfig config);
  ~Host() override;

  // Takes the directories, recovers, binds. Nothing runs yet.
  HostError open();
  void start();
  // Ends all threads. Requests under way are never answered, and their completions are destroyed.
  // Those who post are to have ended by then.
  void stop();

  void post(std::function<void()> event) override { strand_.post(std::move(event)); }
  void post_after(int64_t delay_ms, std::function<void()> event) override;
  Replica& replica() override { return *replica_; }

  int64_t now_ms() override;
  int64_t now_us() override;
  int64_t wall_ms() override;
  uint64_t random() override;
  void wake_at(int64_t time_ms) override;
  void run_io(std::function<void()> job, std::function<void()> done) override;
  void run_background(std::function<void()> job, std::function<void()> done) override;
  void log(LogLevel level, const std::string& line) override;
  void log_limited(LogLevel level, const std::string& line) override;
  void die(const std::string& why) override;

 private:
  void run_lane(Lane& lane, std::function<void()> job, std::function<void()> done);
  void arm(int64_t time_ms);

  HostConfig config_;
  DataDirectory data_directory_, log_directory_;
  std::unique_ptr<PosixDisk> snapshot_disk_, log_disk_;
  boost::asio::io_context io_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  boost::asio::steady_timer timer_;
  LimitedLog limited_log_;
  Strand strand_;
  std::optional<TlsContext> tls_;
  std::unique_ptr<TcpTransport> transport_;
  std::unique_ptr<Replica> replica_;
  // On the strand:
  int64_t armed_ms_ = INT64_MAX;
  std::optional<Lane> log_lane_, background_lane_;
  std::thread io_thread_;
};

}  // namespace zabfs::consensus
