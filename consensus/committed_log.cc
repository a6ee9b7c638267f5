#include "consensus/committed_log.h"

#include <fmt/format.h>

#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include "consensus/log_reader.h"
#include "consensus/protocol.h"

namespace zabfs::consensus {

using log_format::RecordType;
using tree::Zxid;

namespace {

constexpr Zxid kUnknown{-1};

class Reading {
 public:
  Reading(Disk& files, Zxid through, const CommittedLogVisitor& visitor)
      : files_(files), through_(through), visitor_(visitor) {}

  void run(Zxid after) {
    LogHandlers handlers;
    handlers.first_segment = [this](const log_format::SegmentHeader& header) {
      if (damages_ != 0) return;
      tip_ = told_ = header.last_zxid;
      goes_on_ = visitor_.begin(tip_);
    };
    handlers.record = [this](const FoundRecord& found, size_t damages) {
      if (damages != damages_) note_damage(damages);
      take(found);
      return goes_on_ ? Taken::kYes : Taken::kEnough;
    };
    LogReport report =
        read_log(files_, handlers, kLogPrefix, after == Zxid{} ? 0 : find_segment(files_, after));
    if (!goes_on_) return;
    if (group_) roll_back();
    tell_through(through_);
    if (report.damage.size() != damages_ && goes_on_) {
      visitor_.gap(report.damage.back(), Zxid{});
    }
  }

 private:
  // What waits until it is known to be committed.
  struct Waiting {
    Zxid zxid;
    std::shared_ptr<const std::string> txn;  // null: a gap, behind which the log goes on at `zxid`
    std::string why{};
  };
  struct Group {  // what held before it
    Zxid tip;
    std::deque<Waiting> waiting;
  };

  void take(const FoundRecord& found) {
    const log_format::RecordHeader& header = found.header;
    switch (header.type) {
      case RecordType::kTxn:
        append(found);
        break;
      case RecordType::kBeginSync:
        begin_sync(static_cast<SyncMode>(header.extra), header.zxid);
        break;
      case RecordType::kEndSync:
        group_.reset();
        break;
      case RecordType::kRollBack:
        if (group_) roll_back();
        break;
      case RecordType::kSeal:
        break;
    }
    if (!group_) tell_through(header.committed);
  }

  void append(const FoundRecord& found) {
    Zxid zxid = found.header.zxid;
    if (tip_ != kUnknown && !zxid.follows(tip_)) {
      add_gap(fmt::format("0x{:x} does not follow on 0x{:x}", zxid.value, tip_.value), Zxid{});
    }
    tip_ = zxid;
    waiting_.push_back({zxid, std::make_shared<const std::string>(found.body)});
  }

  void begin_sync(SyncMode mode, Zxid zxid) {
    group_ = Group{tip_, waiting_};
    if (mode == SyncMode::kTrunc) {
      while (!waiting_.empty() && waiting_.back().zxid > zxid) waiting_.pop_back();
      if (told_ > zxid) add_gap("a leader took back what had been committed here", zxid);
      tip_ = zxid;
    } else if (mode == SyncMode::kSnap) {
      waiting_.clear();
      add_gap("a leader's snapshot took the place of what this node lacked", zxid);
      tip_ = zxid;
    }
  }

  void roll_back() {
    tip_ = group_->tip;
    waiting_ = std::move(group_->waiting);
    group_.reset();
  }

  void add_gap(std::string why, Zxid base) { waiting_.push_back({base, nullptr, std::move(why)}); }

  // What waits may have been taken back in what is missing.
  void note_damage(size_t damages) {
    damages_ = damages;
    group_.reset();
    waiting_.clear();
    tip_ = kUnknown;
    told_ = Zxid{};
    if (goes_on_) goes_on_ = visitor_.gap("the log is damaged, or a part of it is gone", Zxid{});
  }

  void tell_through(Zxid committed) {
    while (goes_on_ && !waiting_.empty() && waiting_.front().zxid <= committed) {
      Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      if (next.txn) {
        told_ = next.zxid;
        goes_on_ = visitor_.txn(next.zxid, *next.txn);
      } else {
        told_ = next.zxid;
        goes_on_ = visitor_.gap(next.why, next.zxid);
      }
    }
  }

  Disk& files_;
  const Zxid through_;
  const CommittedLogVisitor& visitor_;
  bool goes_on_ = true;
  size_t damages_ = 0;
  Zxid tip_ = kUnknown;  // the last txn read, committed or not
  Zxid told_;            // the last one told of
  std::deque<Waiting> waiting_;
  std::optional<Group> group_;
};

}  // namespace

void read_committed(Disk& files, Zxid after, Zxid through, const CommittedLogVisitor& visitor) {
  Reading(files, through, visitor).run(after);
}

}  // namespace zabfs::consensus
