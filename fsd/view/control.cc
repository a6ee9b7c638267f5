#include "fsd/view/control.h"

#include <charconv>

#include "tree/path.h"

namespace zabfs::fsd {
namespace {

struct Row {
  Control control;
  const char* name;
  bool root_only = false;
};

constexpr Row kRoom[] = {
    {Control::kAcl, "acl"},
    {Control::kAt, "at"},
    {Control::kBarriers, "barrier"},
    {Control::kChanges, "changes"},
    {Control::kCounter, "counter"},
    {Control::kData, "data"},
    {Control::kEphemeral, "ephemeral"},
    {Control::kExport, "export"},
    {Control::kHelp, "help"},
    {Control::kHistory, "history"},
    {Control::kHolders, "holders"},
    {Control::kImport, "import"},
    {Control::kLeader, "leader"},
    {Control::kLock, "lock"},
    {Control::kNext, "next"},
    {Control::kOnce, "once"},
    {Control::kPick, "pick"},
    {Control::kQueue, "queue"},
    {Control::kRing, "ring"},
    {Control::kReadWriteLock, "rwlock"},
    {Control::kSemaphores, "semaphore"},
    {Control::kSeq, "seq"},
    {Control::kStat, "stat"},
    {Control::kTxn, "txn"},
    {Control::kWatch, "watch"},
    {Control::kWatchAll, "watch-all"},
    {Control::kWork, "work"},
    {Control::kCluster, "cluster", true},
    {Control::kHandles, "handles", true},
    {Control::kHealth, "health", true},
    {Control::kLogLevel, "log-level", true},
    {Control::kMembers, "members", true},
    {Control::kMetrics, "metrics", true},
    {Control::kSnapshot, "snapshot", true},
};

}  // namespace

Control control_named(std::string_view name, bool is_root) {
  for (const Row& row : kRoom) {
    if (name == row.name && (is_root || !row.root_only)) return row.control;
  }
  return Control::kNone;
}

Control member_named(Control directory, std::string_view name) {
  switch (directory) {
    case Control::kSemaphores:
      return parties(name) > 0 ? Control::kSemaphore : Control::kNone;
    case Control::kBarriers:
      return parties(name) > 0 ? Control::kBarrier : Control::kNone;
    case Control::kRing:
      return tree::is_valid_name(name) ? Control::kRingKey : Control::kNone;
    case Control::kOnce:
      return tree::is_valid_name(name) ? Control::kOnceName : Control::kNone;
    case Control::kOnceName:
      return period_ms(name) > 0 ? Control::kOncePeriod : Control::kNone;
    case Control::kNone:
    case Control::kRoom:
    case Control::kHelp:
    case Control::kHolders:
    case Control::kData:
    case Control::kStat:
    case Control::kAcl:
    case Control::kWatch:
    case Control::kWatchAll:
    case Control::kLock:
    case Control::kReadWriteLock:
    case Control::kSemaphore:
    case Control::kLeader:
    case Control::kNext:
    case Control::kSeq:
    case Control::kSeqFile:
    case Control::kEphemeral:
    case Control::kEphemeralFile:
    case Control::kQueue:
    case Control::kWork:
    case Control::kOncePeriod:
    case Control::kBarrier:
    case Control::kCounter:
    case Control::kRingKey:
    case Control::kPick:
    case Control::kTxn:
    case Control::kHistory:
    case Control::kHistoryName:
    case Control::kVersion:
    case Control::kAt:
    case Control::kPast:
    case Control::kChanges:
    case Control::kExport:
    case Control::kImport:
    case Control::kCluster:
    case Control::kHealth:
    case Control::kLogLevel:
    case Control::kMembers:
    case Control::kMetrics:
    case Control::kSnapshot:
    case Control::kHandles:
      return Control::kNone;
  }
  return Control::kNone;
}

std::string control_name(Control control) {
  for (const Row& row : kRoom) {
    if (row.control == control) return row.name;
  }
  return {};
}

std::vector<std::string> room_names(bool is_root) {
  std::vector<std::string> names;
  for (const Row& row : kRoom) {
    if (is_root || !row.root_only) names.emplace_back(row.name);
  }
  return names;
}

bool is_control_directory(Control control) {
  return control == Control::kRoom || control == Control::kSeq || control == Control::kEphemeral ||
         control == Control::kSemaphores || control == Control::kBarriers ||
         control == Control::kRing || control == Control::kTxn || control == Control::kOnce ||
         control == Control::kOnceName || control == Control::kHistory ||
         control == Control::kHistoryName || control == Control::kAt;
}

bool is_of_the_past(Control control) {
  return control == Control::kHistory || control == Control::kHistoryName ||
         control == Control::kVersion || control == Control::kAt || control == Control::kPast ||
         control == Control::kChanges;
}

uint32_t control_mode(Control control, uint32_t directory) {
  uint32_t read = directory & 0444;
  uint32_t write = directory & 0222;
  switch (control) {
    case Control::kNone:
      return 0;
    case Control::kHelp:
    case Control::kHolders:
    case Control::kStat:
    case Control::kWatch:
    case Control::kWatchAll:
    case Control::kRingKey:
    case Control::kPick:
    case Control::kVersion:
    case Control::kPast:
    case Control::kChanges:
    case Control::kExport:
    case Control::kCluster:
    case Control::kHealth:
    case Control::kMetrics:
    case Control::kHandles:
      return read;
    case Control::kAcl:
      return read | 0200;  // its owner, whatever the mode
    case Control::kLogLevel:
    case Control::kMembers:
      return read | 0200;  // root alone
    case Control::kSnapshot:
      return read & 0400;  // the same
    case Control::kData:
    case Control::kImport:
    case Control::kLock:
    case Control::kReadWriteLock:
    case Control::kSeqFile:
    case Control::kEphemeralFile:
    case Control::kCounter:
      return read | write;
    case Control::kNext:  // reading or opening these takes something
    case Control::kQueue:
    case Control::kWork:
    case Control::kOncePeriod:
    case Control::kLeader:
    case Control::kSemaphore:
    case Control::kBarrier:
      return write << 1 | write;
    case Control::kRoom:
    case Control::kSemaphores:
    case Control::kBarriers:
    case Control::kRing:
    case Control::kOnce:
    case Control::kOnceName:
    case Control::kHistory:
    case Control::kHistoryName:
    case Control::kAt:
      return read | read >> 2;
    case Control::kSeq:
    case Control::kEphemeral:
      return read | write | read >> 2 | write >> 1;
    case Control::kTxn:  // what is in it is its maker's
      return 01000 | read | write | read >> 2 | write >> 1;
  }
  return 0;
}

bool can_write(Control control) {
  return control == Control::kAcl || control == Control::kMembers ||
         control == Control::kLogLevel || control == Control::kData ||
         control == Control::kImport || control == Control::kSeqFile ||
         control == Control::kEphemeralFile || control == Control::kQueue ||
         control == Control::kWork || control == Control::kCounter;
}

bool has_deadline(Control control) {
  return control == Control::kLock || control == Control::kReadWriteLock ||
         control == Control::kLeader || control == Control::kSemaphore ||
         control == Control::kBarrier || control == Control::kEphemeralFile ||
         control == Control::kWork;
}

int64_t period_ms(std::string_view name) {
  constexpr int64_t kSecond = 1'000, kMinute = 60 * kSecond, kHour = 60 * kMinute;
  constexpr int64_t kDay = 24 * kHour, kLongest = 3'650 * kDay;
  int64_t count = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), count);
  bool has_unit = error == std::errc() && end == name.data() + name.size() - 1;
  if (!has_unit || count <= 0 || count > kLongest / kSecond) return 0;
  int64_t unit = 0;
  if (*end == 's') unit = kSecond;
  if (*end == 'm') unit = kMinute;
  if (*end == 'h') unit = kHour;
  if (*end == 'd') unit = kDay;
  return count * unit <= kLongest ? count * unit : 0;
}

int32_t parties(std::string_view name) {
  int32_t number = 0;
  auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  bool whole = error == std::errc() && end == name.data() + name.size();
  return whole && number > 0 && number <= kMaxParties ? number : 0;
}

}  // namespace zabfs::fsd
