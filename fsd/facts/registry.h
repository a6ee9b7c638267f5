// The one place that all measurements of a node are gathered in, when somebody asks for them:
// `mntr`, the admin command `monitor`, `@/metrics`, and Prometheus over HTTP.
//
// Whoever counts something keeps plain counters of his own, and adds a source that reads them. So
// nothing is looked up by name, and no lock is taken, where the work is done.
//
// Threading: `add` before the first question. All else on the strand, as the sources run there.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>

#include <functional>
#include <string>
#include <vector>

#include "fsd/facts/metric.h"

namespace zabfs::fsd {

class Registry : public prometheus::Collectable {
 public:
  // Appends what it knows at this moment. It outlives the last question.
  using Source = std::function<void(Metrics& into)>;

  void add(Source source) { sources_.push_back(std::move(source)); }
  // A source of what `@/cluster` tells, too (cluster.h). That is asked for often, so it is gathered
  // without the others, of which some read /proc.
  void add_of_cluster(Source source) { of_cluster_.push_back(std::move(source)); }

  Metrics gather() const;
  Metrics gather_of_cluster() const;
  // ZooKeeper's names and values, as `mntr` (there as zk_NAME) and `monitor` tell them. Names of
  // which nothing is measured here are told as 0, as Java does of what has not happened.
  std::vector<NamedFact> zookeeper_facts() const;

  // What Prometheus is told, one family a name.
  std::vector<prometheus::MetricFamily> Collect() const override;
  // The same in its text format.
  std::string text() const;
  static constexpr const char* kTextType = "text/plain; version=0.0.4; charset=utf-8";

 private:
  std::vector<Source> sources_, of_cluster_;
};

}  // namespace zabfs::fsd
