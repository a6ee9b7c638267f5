// `@/import`: a stream of records (fsd/transfer/record.h) becomes files in the directory and below.
//
// What is written is put into commits of as many entries as fit, one behind the other in the order
// of the stream, and many of them on the way at once. A write is answered when what it brought is
// on the way; so the writer is as fast as the commits, and what is held is bounded. A close or an
// fsync behind the stream's end waits for all. Where somebody else was faster, what failed is
// looked at again, once nothing is on the way any more. What was committed stays, whatever happens.
//
// A read tells how far it is, and what went wrong with which file.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <unordered_set>
#include <utility>

#include "consensus/replica.h"
#include "fsd/recipes/handles.h"
#include "fsd/recipes/import_plan.h"
#include "fsd/session/bulk.h"
#include "tree/path.h"

namespace zabfs::fsd {

using Change = ImportPlan::Change;
using tree::Error;
using tree::Outcome;

namespace {

constexpr size_t kMaxToldBytes = 64u << 20;  // of the paths that a dry run tells
constexpr int kMaxConflicts = 100;           // of commits that others were faster than

const char* words(FileError error) {
  switch (error) {
    case FileError::kNoEntry:
    case FileError::kStale:
      return "somebody else removed or changed it meanwhile";
    case FileError::kExists:
      return "there is something of another kind: remove that first";
    case FileError::kNotDirectory:
      return "there is a file in the place of a directory: remove that first";
    case FileError::kIsDirectory:
      return "there is a directory in the place of a file: remove that first";
    case FileError::kNoAccess:
      return "Permission denied";
    case FileError::kNotPermitted:
      return "Operation not permitted";
    case FileError::kInvalid:
      return "its name or its ACL is not one that ZooKeeper takes";
    case FileError::kTooLarge:
      return "is too large for one commit (jute.maxbuffer)";
    case FileError::kQuotaExceeded:
      return "a quota is exceeded";
    case FileError::kBusy:
      return "is in use";
    case FileError::kTryAgain:
      return "too many requests are under way: try again";
    case FileError::kReadOnly:
      return "there is no leader: try again when a majority of the members is up";
    case FileError::kUnsupported:
      return "the leader does not support it";
    case FileError::kOk:
    case FileError::kNotEmpty:
    case FileError::kOutOfRange:
    case FileError::kNoSpace:
    case FileError::kInterrupted:
    case FileError::kClosed:
    case FileError::kFailed:
      break;
  }
  return "the commit failed, or it is not known whether it did";
}

class ImportHandle : public Handle {
 public:
  ImportHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kImport, directory, std::move(opener)),
        decoder_(room.limits().data_bytes()) {}

  void open(Done opened) override {
    counts_ = room_.begin_transfer();
    opened(counts_ ? FileError::kOk : FileError::kTryAgain);
  }

  void write(std::string_view bytes, off_t offset, bool append, Done done) override {
    if (state_ == State::kFailed) return done(error_);
    // One stream from its beginning, in order.
    bool is_next = append || static_cast<uint64_t>(offset) == received_;
    if (!is_next) return done(FileError::kInvalid);
    // The end has come, and nothing takes more any more. Until then `receive` answers all writers.
    if (state_ != State::kReceives) return done(FileError::kInvalid);
    received_ += bytes.size();
    decoder_.feed(bytes);
    writers_.push_back(std::move(done));
    pump();
  }

  void flush(Done done) override {
    if (state_ == State::kFailed) return done(error_);
    if (received_ == 0 || state_ == State::kDone) return done(FileError::kOk);
    if (!decoder_.has_ended()) return done(FileError::kInvalid);  // it was cut off
    flushers_.push_back(std::move(done));
  }
  std::string held() const override { return held_line("import", "@/import"); }

 protected:
  void take(size_t, Answer answer) override { answer(FileError::kOk, text()); }

  void leave() override {
    if (state_ != State::kDone) fail(FileError::kClosed, "", "closed before its end");
    if (std::exchange(counts_, false)) room_.end_transfer();
  }

 private:
  // Of a stream: it is received, what it does not have is removed, its directories get their last
  // attributes.
  enum class State { kReceives, kRemoves, kSettles, kDone, kFailed };
  // What a commit is made for: an entry, or a path of the last two states.
  struct Item {
    transfer::Entry entry;
    size_t first_op = 0;
    Change change = Change::kNone;
    bool counts = true;  // once, if it has several commits
  };
  // A multi, or a single request that none can have.
  struct Commit {
    bool is_single = false;
    std::vector<Item> items;
    std::vector<tree::MultiOp> ops;
    size_t bytes = 0;
    std::unordered_set<std::string> paths;
  };
  using CommitPtr = std::shared_ptr<Commit>;

  Placing placing() const { return Placing(room_.tree(), room_.view_options(), opener()); }

  void fail(FileError error, const std::string& path, std::string why) {
    if (state_ == State::kFailed || state_ == State::kDone) return;
    state_ = State::kFailed;
    error_ = error;
    why_ = path.empty() ? std::move(why) : transfer::printable(path) + ": " + why;
    for (Done& done : std::exchange(writers_, {})) done(error_);
    if (requests_ == 0) answer_flushers();
  }

  void answer_flushers() {
    for (Done& done : std::exchange(flushers_, {}))
      done(state_ == State::kDone ? FileError::kOk : error_);
  }

  // Goes on as far as it can. It is called when there is more to take, and when a commit has ended.
  void pump() {
    if (is_pumping_) return;
    is_pumping_ = true;
    auto self = shared_from_this();
    while (step()) {
    }
    is_pumping_ = false;
    if (state_ == State::kFailed && requests_ == 0) answer_flushers();
  }

  bool step() {
    if (state_ == State::kFailed || state_ == State::kDone) return false;
    if (is_orphan()) return fail(FileError::kStale, "", "the directory is gone"), false;
    bool is_full = bulk::is_full(on_the_way_, requests_);
    if (is_full || (is_held_up_ && requests_ > 0)) return false;
    if (is_held_up_) look_again();
    if (!again_.empty()) {
      Item item = std::move(again_.front());
      again_.pop_front();
      return put(std::move(item));
    }
    if (state_ == State::kReceives) return receive();
    if (!rest_.empty()) {
      Item item;
      item.entry.path = std::move(rest_.back());
      rest_.pop_back();
      return put(std::move(item));
    }
    return next_state();
  }

  // What failed comes first, then what was to be sent behind it, then what was to be looked at.
  void look_again() {
    is_held_up_ = false;
    if (commit_) take_back(*commit_);
    commit_ = nullptr;
    again_.insert(again_.begin(), std::make_move_iterator(failed_.begin()),
                  std::make_move_iterator(failed_.end()));
    failed_.clear();
  }

  void take_back(Commit& commit) {
    for (Item& item : commit.items) {
      plan_->failed(item.entry);
      failed_.push_back(std::move(item));
    }
  }

  bool receive() {
    std::optional<transfer::Record> record = decoder_.next();
    if (!record) {
      if (!decoder_.status().ok()) {
        return fail(FileError::kInvalid, "", decoder_.status().why()), false;
      }
      // All that was written is on the way, but for a record in pieces and a commit not yet full.
      for (Done& done : std::exchange(writers_, {})) done(FileError::kOk);
      return decoder_.has_ended() && next_state();
    }
    if (const auto* header = std::get_if<transfer::Header>(&*record)) {
      is_dry_run_ = header->is_dry_run;
      plan_.emplace(ImportPlan::Options{directory(), room_.limits().data_bytes(),
                                        room_.service().replica().config().prepare.extended_types,
                                        header->removes_others});
    } else if (auto* entry = std::get_if<transfer::Entry>(&*record)) {
      ++entries_;
      bytes_ += entry->data.size();
      Item item;
      item.entry = std::move(*entry);
      return put(std::move(item));
    } else if (const auto* left_out = std::get_if<transfer::LeftOut>(&*record)) {
      plan_->keep(left_out->path);
    }
    return true;
  }

  // The last commit of a state goes out, and the next one begins when it has ended.
  bool next_state() {
    submit(std::exchange(commit_, nullptr));
    if (is_held_up_) return true;
    if (requests_ > 0 || !again_.empty() || state_ == State::kFailed) return false;
    if (state_ == State::kReceives) {
      state_ = State::kRemoves;
      rest_ = plan_->others(room_.tree());
    } else if (state_ == State::kRemoves) {
      state_ = State::kSettles;
      if (!is_dry_run_) rest_ = plan_->directories();
      std::reverse(rest_.begin(), rest_.end());
    } else {
      state_ = State::kDone;
      answer_flushers();
      return false;
    }
    return true;
  }

  ImportPlan::Step planned(const Item& item) {
    Placing now = placing();
    if (state_ == State::kReceives) return plan_->put(item.entry, now);
    if (state_ == State::kRemoves) return plan_->remove(item.entry.path, now);
    return plan_->settle(item.entry.path, now);
  }

  bool put(Item item) {
    // What this commit changes can't be seen in the tree yet. A directory's own data can go with
    // it.
    bool is_own_data = item.entry.part == transfer::Part::kOwnData;
    if (commit_ && !is_own_data && commit_->paths.contains(item.entry.path)) {
      submit(std::exchange(commit_, nullptr));
    }
    ImportPlan::Step step = planned(item);
    if (step.error != FileError::kOk) {
      fail(step.error, item.entry.path, step.why.empty() ? words(step.error) : step.why);
      return false;
    }
    item.change = step.change;
    if (is_dry_run_) tell(item);
    if (step.is_empty() || is_dry_run_) return count(item), true;
    if (step.first) {
      auto single = std::make_shared<Commit>();
      single->is_single = true;
      single->bytes = bulk::bytes_of(*step.first);
      single->ops.push_back(std::move(*step.first));
      single->items.push_back(item);
      single->items.back().counts = item.counts && step.ops.empty();
      submit(single);
    }
    bool is_first = true;
    size_t together = 0;
    for (const tree::MultiOp& op : step.ops) together += bulk::bytes_of(op);
    for (tree::MultiOp& op : step.ops) {
      // What is removed may have more in it than one commit takes.
      bool is_apart = state_ == State::kRemoves;
      if (is_first || is_apart) {
        bool is_another =
            begin_commit(is_apart ? bulk::bytes_of(op) : together, is_apart ? 1 : step.ops.size());
        if (is_first || is_another) add_item(item, is_first);
      }
      is_first = false;
      commit_->bytes += bulk::bytes_of(op);
      commit_->ops.push_back(std::move(op));
    }
    return true;
  }

  void add_item(Item& item, bool is_first) {
    commit_->paths.insert(item.entry.path);
    bool is_last = state_ == State::kReceives;
    Item one = is_last ? std::move(item) : item;
    one.first_op = commit_->ops.size();
    one.counts = one.counts && is_first;
    commit_->items.push_back(std::move(one));
  }

  // Room for so much in the commit that is being filled; whether it is a new one.
  bool begin_commit(size_t bytes, size_t ops) {
    bool is_full = commit_ && !bulk::fits(commit_->bytes + bytes, commit_->ops.size() + ops);
    if (is_full) submit(std::exchange(commit_, nullptr));
    if (commit_) return false;
    commit_ = std::make_shared<Commit>();
    return true;
  }

  void submit(const CommitPtr& commit) {
    if (!commit) return;
    ++commits_;
    ++requests_;
    on_the_way_ += commit->bytes;
    auto self = shared_from_this();
    auto body = [self, this, commit] {
      std::vector<tree::MultiOp> ops = std::exchange(commit->ops, {});
      tree::OpCode type = commit->is_single ? ops[0].type : tree::OpCode::kMulti;
      room_.writer().commit(
          type, commit->is_single ? std::move(ops[0].body) : tree::multi_body(ops),
          [self, this, commit](const Outcome& outcome) { ended(commit, outcome); });
    };
    room_.writer().when_writable(body, [self, this, commit](FileError error) {
      --requests_;
      on_the_way_ -= commit->bytes;
      fail(error, "", words(error));
      pump();
    });
  }

  void ended(const CommitPtr& commit, const Outcome& outcome) {
    --requests_;
    on_the_way_ -= commit->bytes;
    auto [error, at] = tree::failure_of(outcome);
    if (error == Error::kOk) {
      for (const Item& item : commit->items) {
        plan_->committed(item.entry);
        count(item);
      }
    } else if (tree::is_conflict(error) && state_ != State::kFailed && tries_++ < kMaxConflicts) {
      is_held_up_ = true;
      take_back(*commit);
    } else {
      auto after = std::find_if(commit->items.begin(), commit->items.end(),
                                [at = at](const Item& item) { return item.first_op > at; });
      bool is_of_one =
          (commit->is_single || !outcome.ops.empty()) && after != commit->items.begin();
      FileError told = tree::is_conflict(error) ? FileError::kStale : file_error_of(error);
      fail(told, is_of_one ? std::prev(after)->entry.path : "", words(told));
    }
    pump();
  }

  void count(const Item& item) {
    if (state_ == State::kSettles || !item.counts) return;
    ++counted_[item.change];
  }

  void tell(const Item& item) {
    char sign = ' ';
    if (item.change == Change::kMade) sign = '+';
    if (item.change == Change::kChanged) sign = '~';
    if (item.change == Change::kRemoved) sign = '-';
    if (sign == ' ') return;
    std::string name = transfer::printable(item.entry.path);
    if (told_.size() + name.size() > kMaxToldBytes) {
      ++untold_;
    } else {
      told_ += fmt::format("{} {}\n", sign, name.empty() ? "." : name);
    }
  }

  std::string text() const {
    auto counted = [this](Change change) {
      auto found = counted_.find(change);
      return found == counted_.end() ? size_t{0} : found->second;
    };
    const char* state = state_ == State::kDone     ? "done"
                        : state_ == State::kFailed ? "failed"
                                                   : "running";
    std::string text = fmt::format(
        "state {}\nentries {}\nbytes {}\nmade {}\nchanged {}\nsame {}\nremoved {}\nskipped {}\n"
        "commits {}\n",
        state, entries_, bytes_, counted(Change::kMade), counted(Change::kChanged),
        counted(Change::kNone), counted(Change::kRemoved), counted(Change::kSkipped), commits_);
    if (state_ == State::kFailed) text += fmt::format("error {}\n", why_);
    text += told_;
    if (untold_ > 0) text += fmt::format("... and {} more\n", untold_);
    return text;
  }

  transfer::Decoder decoder_;
  std::optional<ImportPlan> plan_;
  State state_ = State::kReceives;
  bool is_dry_run_ = false, counts_ = false, is_pumping_ = false;
  uint64_t received_ = 0;
  std::vector<Done> writers_, flushers_;
  CommitPtr commit_;                      // that is being filled
  size_t on_the_way_ = 0, requests_ = 0;  // bytes, and commits, that have no answer yet
  std::vector<Item> failed_;              // of commits that failed, in their order
  std::deque<Item> again_;                // to be looked at once more
  bool is_held_up_ = false;               // until those before are settled
  int tries_ = 0;
  std::vector<std::string> rest_;  // of the last two states, the next one last
  FileError error_ = FileError::kOk;
  std::string why_, told_;
  size_t entries_ = 0, bytes_ = 0, commits_ = 0, untold_ = 0;
  std::map<Change, size_t> counted_;
};

}  // namespace

HandlePtr open_import(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<ImportHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
