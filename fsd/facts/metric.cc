#include "fsd/facts/metric.h"

namespace zabfs::fsd {

using Of = Metric::Of;
using Kind = Metric::Kind;

Metric zookeeper_value(std::string name, FactValue value, std::string help) {
  return {Of::kZooKeeper,   Kind::kGauge, std::move(name), std::move(help),
          std::move(value), {},           false,           {}};
}

Metric zookeeper_durations(std::string name, const consensus::Durations& durations,
                           std::string help, bool has_percentiles) {
  return {Of::kZooKeeper,
          Kind::kDurations,
          std::move(name),
          std::move(help),
          0,
          durations,
          has_percentiles,
          {}};
}

Metric own_gauge(std::string name, FactValue value, std::string help, Metric::Labels labels) {
  return {Of::kOwn,         Kind::kGauge, std::move(name), std::move(help),
          std::move(value), {},           false,           std::move(labels)};
}

Metric own_counter(std::string name, FactValue value, std::string help, Metric::Labels labels) {
  return {Of::kOwn, Kind::kCounter, std::move(name),  std::move(help), std::move(value),
          {},       false,          std::move(labels)};
}

Metric own_durations(std::string name, const consensus::Durations& durations, std::string help,
                     Metric::Labels labels) {
  return {Of::kOwn, Kind::kDurations, std::move(name), std::move(help),
          0,        durations,        false,           std::move(labels)};
}

}  // namespace zabfs::fsd
