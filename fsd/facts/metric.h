// One measurement of a node, as it is gathered when somebody asks (registry.h).
//
// A measurement has one name. Each teller forms its own names from it:
//
//   of            name         mntr                               Prometheus
//   ZooKeeper's   znode_count  zk_znode_count                     znode_count, untyped
//   ZooKeeper's   fsynctime    zk_avg_fsynctime, zk_cnt_... (ms)  fsynctime, a summary in ms
//   our own       serving      -                                  zabfs_serving, a gauge
//   our own       lost         -                                  zabfs_lost_total, a counter
//   our own       fsync        -                                  zabfs_fsync_seconds, a histogram
//   the process   open_fds     -                                  process_open_fds, a gauge
//
// ZooKeeper's names are those of 3.8, so that its dashboards and rules work. They are untyped for
// Prometheus, since many end in what Prometheus keeps for parts of histograms (`_count`).
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "consensus/histogram.h"
#include "fsd/facts/fact.h"

namespace zabfs::fsd {

struct Metric {
  enum class Of { kZooKeeper, kOwn, kProcess };
  enum class Kind { kGauge, kCounter, kDurations };
  using Labels = std::vector<std::pair<std::string, std::string>>;

  Of of = Of::kOwn;
  Kind kind = Kind::kGauge;
  std::string name;
  std::string help;
  FactValue value = 0;             // of a gauge or a counter; a text is told by mntr alone
  consensus::Durations durations;  // of kDurations
  bool has_percentiles = false;    // of ZooKeeper's durations: mntr tells p50 to p999, too
  Labels labels;                   // of our own
};

using Metrics = std::vector<Metric>;

// Of ZooKeeper's.
Metric zookeeper_value(std::string name, FactValue value, std::string help);
Metric zookeeper_durations(std::string name, const consensus::Durations& durations,
                           std::string help, bool has_percentiles = false);
// Our own.
Metric own_gauge(std::string name, FactValue value, std::string help, Metric::Labels labels = {});
Metric own_counter(std::string name, FactValue value, std::string help, Metric::Labels labels = {});
Metric own_durations(std::string name, const consensus::Durations& durations, std::string help,
                     Metric::Labels labels = {});

}  // namespace zabfs::fsd
