#include "fsd/config/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>

#include "consensus/ensemble.h"
#include "fsd/config/keys.h"
#include "tree/posix.h"

namespace zabfs::fsd {

namespace {

constexpr int32_t kTickMs = 3'000;  // without tickTime, as in Java

bool is_password(const std::string& key) {
  return key.ends_with(".password") || key.starts_with("zabfs.sasl.user.") ||
         key == "DigestAuthenticationProvider.superDigest";
}

template <class Number>
std::optional<Number> parsed(std::string_view text, int base = 10) {
  Number value = 0;
  auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

// As Integer.parseInt: 32 bits, and + may stand before it.
std::optional<int32_t> parse_int(std::string_view text) {
  if (text.starts_with('+') && !text.starts_with("+-")) text.remove_prefix(1);
  return parsed<int32_t>(text);
}

// As Integer.decode: with 0x or # it is hexadecimal, with 0 octal.
std::optional<int32_t> decode_int(std::string_view text) {
  bool is_negative = text.starts_with('-');
  std::string_view digits = text.substr(is_negative || text.starts_with('+') ? 1 : 0);
  int base = 10;
  if (digits.starts_with("0x") || digits.starts_with("0X")) {
    base = 16;
    digits.remove_prefix(2);
  } else if (digits.starts_with('#')) {
    base = 16;
    digits.remove_prefix(1);
  } else if (digits.starts_with('0') && digits.size() > 1) {
    base = 8;
    digits.remove_prefix(1);
  }
  std::optional<int64_t> value = parsed<int64_t>(digits, base);
  if (!value || digits.starts_with('-')) return std::nullopt;
  if (is_negative) value = -*value;
  if (*value < INT32_MIN || *value > INT32_MAX) return std::nullopt;
  return static_cast<int32_t>(*value);
}

}  // namespace

Status ConfigReader::read() {
  std::ifstream in(file_);
  if (!in) return Status::failed(fmt::format("can't read the configuration {}", file_));
  replica().zab.tick_ms = kTickMs;
  for (const Property& line : last_of_each(parse_properties(in, file_))) {
    take(line);
    if (!status_.ok()) return status_;
  }
  if (config_.host.data_dir.empty()) {
    return Status::failed(fmt::format("{}: dataDir is missing", file_));
  }
  follow_jute_max_buffer();
  if (Status status = check_session_limits(); !status.ok()) return status;
  if (Status status = check_client_doors(); !status.ok()) return status;
  if (Status status = take_tls_of_members(); !status.ok()) return status;
  if (has_secret_) check_readers(file_, "a password");
  if (!config_.audit.file.empty() && !config_.audit.enabled) {
    config_.warnings.push_back(
        fmt::format("{}: zabfs.audit.file has no effect without audit.enable=true", file_));
  }
  check_readers(config_.wire.tls.key_store, "a private key");
  check_readers(quorum_tls_.key_store, "a private key");
  return finish();
}

// As for Java, of a key that comes twice the last line counts.
std::vector<Property> ConfigReader::last_of_each(std::vector<Property> lines) {
  std::map<std::string, const Property*> last;
  for (const Property& line : lines) last[line.key] = &line;
  std::vector<Property> kept;
  for (const Property& line : lines) {
    const Property& counts = *last[line.key];
    if (&counts == &line) {
      kept.push_back(line);
    } else if (counts.value != line.value) {
      warn(line, fmt::format("{} is ignored: line {} has it again", line.key, counts.line));
    }
  }
  return kept;
}

void ConfigReader::take(const Property& line) {
  has_secret_ = has_secret_ || is_password(line.key);
  if (is_of_members(line.key)) {
    return dynamic_ ? fail(line, kElsewhere) : take_of_members(line);
  }
  const Key* key = find_key(line.key);
  if (key == nullptr) return take_unknown(line);
  if (key->has_effect()) return key->take(*this, line);
  config_.ignored.push_back(
      fmt::format("{}:{}: {} is ignored: {}", line.file, line.line, line.key, key->help));
}

void ConfigReader::take_unknown(const Property& line) {
  constexpr std::string_view kOwn = "zabfs.", kPrefix = "zookeeper.";
  if (in_lower_case(line.key).starts_with(kOwn)) {
    return fail(line, fmt::format("there is no such key; is it {}?", nearest_own_key(line.key)));
  }
  std::string hint;
  if (line.key.starts_with(kPrefix)) {
    std::string name = line.key.substr(kPrefix.size());
    if (find_key(name) != nullptr) hint = fmt::format("; in zoo.cfg its name is {}", name);
  }
  warn(line, fmt::format("unknown key {} is ignored{}", line.key, hint));
}

// ---- values

void ConfigReader::fail(const Property& line, const std::string& what) {
  if (!status_.ok()) return;
  status_ = Status::failed(fmt::format("{}:{}: {}: {}", line.file, line.line, line.key, what));
}

void ConfigReader::warn(const Property& line, const std::string& what) {
  config_.warnings.push_back(fmt::format("{}:{}: {}", line.file, line.line, what));
}

std::optional<int64_t> ConfigReader::own_number_of(const Property& line, int64_t low,
                                                   int64_t high) {
  std::optional<int64_t> value = parsed<int64_t>(line.value);
  if (value && *value >= low && *value <= high) return value;
  fail(line, fmt::format("\"{}\" is not a number from {} to {}", line.value, low, high));
  return std::nullopt;
}

std::optional<int64_t> ConfigReader::number_of(const Property& line, int64_t low, int64_t high) {
  if (std::optional<int32_t> value = parse_int(line.value)) return bounded(line, *value, low, high);
  fail(line, fmt::format("\"{}\" is not a number", line.value));
  return std::nullopt;
}

std::optional<int64_t> ConfigReader::property_of(const Property& line, int64_t low, int64_t high) {
  if (std::optional<int32_t> value = decode_int(line.value)) {
    return bounded(line, *value, low, high);
  }
  warn(line, fmt::format("{}={} is ignored: it is not a number", line.key, line.value));
  return std::nullopt;
}

int64_t ConfigReader::bounded(const Property& line, int64_t value, int64_t low, int64_t high) {
  int64_t taken = std::clamp(value, low, high);
  // -1 is how ZooKeeper's files say that there is no limit.
  if (taken != value && !(value == -1 && low == 0)) {
    warn(line, fmt::format("{}={}: {} is taken, the {} that is possible", line.key, value, taken,
                           value < low ? "least" : "most"));
  }
  return taken;
}

void ConfigReader::mode(const Property& line, uint32_t& out) {
  std::optional<uint32_t> bits = parsed<uint32_t>(line.value, 8);
  if (!bits || *bits > tree::kModeBits) {
    return fail(line, fmt::format("\"{}\" is not an octal mode like 0755", line.value));
  }
  out = *bits;
}

void ConfigReader::boolean(const Property& line, bool& out) {
  std::string value = in_lower_case(line.value);
  if (value != "true" && value != "false") {
    return fail(line, fmt::format("\"{}\" is neither true nor false", line.value));
  }
  out = value == "true";
}

void ConfigReader::property_boolean(const Property& line, bool& out) {
  std::string value = in_lower_case(line.value);
  out = value == "true";
  if (!out && value != "false") {
    warn(line, fmt::format("{}={} means false, as for ZooKeeper", line.key, line.value));
  }
}

void ConfigReader::path(const Property& line, std::string& out) {
  if (line.value.empty()) return fail(line, "a path is missing");
  out = line.value;
}

// Empty if it means all addresses.
void ConfigReader::host(const Property& line, std::string& out) {
  out = consensus::host_to_listen_on(line.value);
}

void ConfigReader::port(const Property& line, std::optional<uint16_t>& out) {
  std::optional<int32_t> port = parse_int(line.value);
  if (!port || *port < 0 || *port > UINT16_MAX) {
    return fail(line, fmt::format("\"{}\" is not a port, 1 to 65535", line.value));
  }
  out.reset();
  if (*port != 0) out = static_cast<uint16_t>(*port);
}

void ConfigReader::only(const Property& line, const std::string& value, const char* why) {
  if (in_lower_case(line.value) != in_lower_case(value)) fail(line, why);
}

// What the others of its limits follow from: a node has room for some of the largest requests.
void ConfigReader::follow_jute_max_buffer() {
  constexpr size_t kLargestUnderWay = 4, kLargestOfClients = 16;
  tree::Limits limits(config_.jute_max_buffer);
  replica().prepare.limits = limits;
  replica().prepare.max_txn_bytes = limits.txn_bytes();
  size_t& pending_bytes = replica().max_pending_bytes;
  pending_bytes = std::max(pending_bytes, kLargestUnderWay * limits.request_bytes());
  wire::WireConfig& wire = config_.wire;
  wire.max_frame_bytes = limits.request_bytes();
  size_t least_bytes = kLargestOfClients * limits.request_bytes();
  if (wire.memory_bytes >= least_bytes) return;
  wire.memory_bytes = least_bytes;
  config_.warnings.push_back(
      fmt::format("{}: zabfs.clientMemory: {} MiB is taken, {} times jute.maxbuffer", file_,
                  (least_bytes + (1u << 20) - 1) >> 20, kLargestOfClients));
}

// A session's limits are in ticks unless they are given.
Status ConfigReader::check_session_limits() const {
  const consensus::ReplicaConfig& replica = config_.host.replica;
  int64_t tick_ms = replica.zab.tick_ms;
  int64_t least_ms = replica.min_session_ms == 0 ? 2 * tick_ms : replica.min_session_ms;
  int64_t most_ms = replica.max_session_ms == 0 ? 20 * tick_ms : replica.max_session_ms;
  if (least_ms <= most_ms) return {};
  return Status::failed(fmt::format(
      "{}: minSessionTimeout, {} ms, is more than maxSessionTimeout, {} ms (without such a line "
      "they are 2 and 20 times tickTime)",
      file_, least_ms, most_ms));
}

}  // namespace zabfs::fsd
