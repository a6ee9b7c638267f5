// An open file of the control room: what one recipe does with open, read, write and close.
//
// Everything is on the strand, and nothing waits: what can't be answered yet is parked, and
// answered when a commit brings it. A read at offset 0 asks the recipe for a new answer (`take`);
// higher offsets give the rest of that answer, then the end.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fsd/session/session.h"
#include "fsd/view/control.h"
#include "fsd/view/file_error.h"
#include "fsd/view/view.h"
#include "tree/tree.h"

namespace zabfs::fsd {

class Room;

// Who opened it, and as what.
struct Opener : Caller {
  pid_t pid = 0;
  mode_t mode = 0644;  // of the file that it makes, if any
  std::string program;
  int flags = 0;
  bool wait = true;  // no O_NONBLOCK

  ClientSession::Actor actor() const { return {uid, program}; }
};

class Handle : public std::enable_shared_from_this<Handle> {
 public:
  using Done = std::function<void(FileError error)>;
  using Answer = std::function<void(FileError error, std::string_view bytes)>;

  Handle(Room& room, Control control, std::string directory, Opener opener);
  virtual ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  // Joins, or waits to. Called once, first.
  virtual void open(Done opened) { opened(FileError::kOk); }
  // The open is interrupted: its `opened` gets kInterrupted, unless it was called.
  virtual void cancel_open() {}
  // `number` rises from read to read, on all handles.
  virtual void read(uint64_t number, size_t size, off_t offset, bool wait, Answer answer);
  void cancel_read(uint64_t number);
  virtual void write(std::string_view bytes, off_t offset, bool append, Done done);
  // A write was refused. Who commits at flush commits nothing of what was written then: neither
  // half of it nor nothing in the place of what there was.
  void refused(FileError error) {
    refused_ = error;
    dropped_ |= drop_written();
  }
  // Reads and writes of a program share one offset: the read after a write asks anew.
  void note_written() { written_ = true; }
  virtual void truncate(off_t) {}
  // close and fsync: what was written is committed.
  virtual void flush(Done done) { done(lost_ ? FileError::kStale : FileError::kOk); }
  // Released, or its open failed: what it holds is given up. Called last, on the strand; the last
  // reference may go on any thread.
  void close();

  // Whether a read would be answered at once, with bytes or an error.
  bool is_readable() const { return is_lost() || is_ready(); }
  bool is_lost() const { return lost_ || is_orphan(); }
  void lose();
  // Called when it becomes readable.
  void set_on_readable(std::function<void()> on_readable) { on_readable_ = std::move(on_readable); }

  // Only for who listens (Room::listen).
  virtual void published(const std::vector<tree::Change>&) {}
  virtual void tree_replaced() {}
  virtual void session_lost(tree::SessionId) {}
  // A line of `@/handles`; empty if nothing is held by it, or another table tells of it.
  virtual std::string held() const { return {}; }

  Control control() const { return control_; }
  const std::string& directory() const { return directory_; }
  const Opener& opener() const { return opener_; }
  // The number of the read that waits longest; 0 if none does.
  uint64_t first_waiting() const { return parked_.empty() ? 0 : parked_.front().number; }
  // Answers what was parked, as far as it can, and tells who polls.
  void wake();
  bool answer_first();

 protected:
  // Forgets what was written and is not committed; whether there was anything.
  virtual bool drop_written() { return false; }
  virtual bool is_ready() const { return true; }
  // The directory it was opened in is no more; what has its name by now may be another user's.
  virtual bool is_orphan() const;
  // Makes it one: who waits for something in the directory is to be told.
  bool is_end_of_directory(const tree::Change& change) const {
    return change.type == tree::ChangeType::kDeleted && change.path == directory_;
  }
  // Gives the answer to a read at offset 0 of at most `size` bytes; of more, the rest is for reads
  // behind it. Only called when `is_ready`. kTryAgain: it was ready, and is not any more.
  virtual void take(size_t size, Answer answer) = 0;
  virtual void leave() {}
  std::string held_line(std::string_view kind, std::string_view name) const;

  Room& room_;
  FileError refused_ = FileError::kOk;  // the error of a write
  bool dropped_ = false;                // what had been written before was dropped with it

 private:
  struct Parked {
    uint64_t number;
    size_t size;
    bool wait;
    Answer answer;
  };
  void start(Parked parked);

  Control control_;
  std::string directory_;
  tree::Zxid czxid_;  // the directory's
  Opener opener_;
  std::string text_;   // the answer being read
  off_t text_at_ = 0;  // the offset it begins at
  bool written_ = false;
  std::deque<Parked> parked_;
  bool lost_ = false;
  bool closed_ = false;
  std::function<void()> on_readable_;
};

}  // namespace zabfs::fsd
