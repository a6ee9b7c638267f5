#include "fsd/facts/registry.h"

#include <prometheus/text_serializer.h>

#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "fsd/facts/zookeeper_names.h"

namespace zabfs::fsd {

using consensus::Durations;
using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Of = Metric::Of;
using Kind = Metric::Kind;

namespace {

// ---- ZooKeeper's

int64_t in_ms(double us) { return std::llround(us / 1'000); }

void add_durations(const Metric& metric, std::vector<NamedFact>& facts) {
  const Durations& durations = metric.durations;
  auto add = [&](const char* what, FactValue value) {
    facts.push_back({what + ("_" + metric.name), std::move(value)});
  };
  auto count = static_cast<int64_t>(durations.count());
  double sum_ms = static_cast<double>(durations.sum_us) / 1'000;
  add("avg", count == 0 ? 0.0 : sum_ms / static_cast<double>(count));
  add("min", in_ms(static_cast<double>(durations.min_us)));
  add("max", in_ms(static_cast<double>(durations.max_us)));
  add("cnt", count);
  add("sum", in_ms(static_cast<double>(durations.sum_us)));
  if (!metric.has_percentiles) return;
  add("p50", in_ms(durations.quantile_us(0.5)));
  add("p95", in_ms(durations.quantile_us(0.95)));
  add("p99", in_ms(durations.quantile_us(0.99)));
  add("p999", in_ms(durations.quantile_us(0.999)));
}

// ---- Prometheus's

std::string prometheus_name(const Metric& metric) {
  switch (metric.of) {
    case Of::kZooKeeper:
      return metric.name;
    case Of::kProcess:
      return "process_" + metric.name + (metric.kind == Kind::kCounter ? "_total" : "");
    case Of::kOwn:
      break;
  }
  switch (metric.kind) {
    case Kind::kGauge:
      return "zabfs_" + metric.name;
    case Kind::kCounter:
      return "zabfs_" + metric.name + "_total";
    case Kind::kDurations:
      return "zabfs_" + metric.name + "_seconds";
  }
  return metric.name;
}

MetricType type_of(const Metric& metric) {
  if (metric.of == Of::kZooKeeper) {
    return metric.kind == Kind::kDurations ? MetricType::Summary : MetricType::Untyped;
  }
  switch (metric.kind) {
    case Kind::kGauge:
      return MetricType::Gauge;
    case Kind::kCounter:
      return MetricType::Counter;
    case Kind::kDurations:
      return MetricType::Histogram;
  }
  return MetricType::Untyped;
}

ClientMetric::Summary summary_of(const Durations& durations) {
  ClientMetric::Summary summary;
  summary.sample_count = durations.count();
  summary.sample_sum = static_cast<double>(durations.sum_us) / 1'000;
  for (double part : {0.5, 0.9, 0.99}) {
    summary.quantile.push_back({part, durations.quantile_us(part) / 1'000});
  }
  return summary;
}

ClientMetric::Histogram histogram_of(const Durations& durations) {
  ClientMetric::Histogram histogram;
  histogram.sample_sum = static_cast<double>(durations.sum_us) / 1e6;
  for (size_t i = 0; i < durations.buckets.size(); ++i) {
    histogram.sample_count += durations.buckets[i];
    bool is_last = i == consensus::kBucketBoundsUs.size();
    double bound = is_last ? INFINITY : static_cast<double>(consensus::kBucketBoundsUs[i]) / 1e6;
    histogram.bucket.push_back({histogram.sample_count, bound});
  }
  return histogram;
}

ClientMetric sample_of(const Metric& metric) {
  ClientMetric sample;
  for (const auto& [name, value] : metric.labels) sample.label.push_back({name, value});
  double value = std::visit(
      [](const auto& of) {
        if constexpr (std::is_same_v<std::decay_t<decltype(of)>, std::string>) {
          return 0.0;
        } else {
          return static_cast<double>(of);
        }
      },
      metric.value);
  sample.untyped.value = sample.gauge.value = sample.counter.value = value;
  if (metric.kind != Kind::kDurations) return sample;
  if (metric.of == Of::kZooKeeper) {
    sample.summary = summary_of(metric.durations);
  } else {
    sample.histogram = histogram_of(metric.durations);
  }
  return sample;
}

}  // namespace

Metrics Registry::gather() const {
  Metrics all;
  for (const Source& source : sources_) source(all);
  for (const Source& source : of_cluster_) source(all);
  return all;
}

Metrics Registry::gather_of_cluster() const {
  Metrics some;
  for (const Source& source : of_cluster_) source(some);
  return some;
}

std::vector<NamedFact> Registry::zookeeper_facts() const {
  std::vector<NamedFact> facts;
  std::set<std::string> told;
  auto add = [&](const Metric& metric) {
    if (metric.of != Of::kZooKeeper || !told.insert(metric.name).second) return;
    if (metric.kind == Kind::kDurations) {
      add_durations(metric, facts);
    } else {
      facts.push_back({metric.name, metric.value});
    }
  };
  for (const Metric& metric : gather()) add(metric);
  for (const char* name : kCountersOfJava) add(zookeeper_value(name, 0, ""));
  for (const char* name : kSummariesOfJava) add(zookeeper_durations(name, {}, ""));
  for (const char* name : kDetailedSummariesOfJava) add(zookeeper_durations(name, {}, "", true));
  return facts;
}

std::vector<MetricFamily> Registry::Collect() const {
  std::vector<MetricFamily> families;
  std::map<std::string, size_t> places;
  for (const Metric& metric : gather()) {
    if (std::holds_alternative<std::string>(metric.value)) continue;
    std::string name = prometheus_name(metric);
    auto [place, is_new] = places.try_emplace(name, families.size());
    if (is_new) families.push_back({name, metric.help, type_of(metric), {}});
    families[place->second].metric.push_back(sample_of(metric));
  }
  return families;
}

std::string Registry::text() const { return prometheus::TextSerializer().Serialize(Collect()); }

}  // namespace zabfs::fsd
