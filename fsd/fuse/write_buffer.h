// What one handle has written: from the program's write to the outcome of its commit (DESIGN.md,
// "Reads and writes").
//
// The class is pure: it knows no kernel, no thread and no clock. Each handle owns one (`OpenFile`),
// and does three things with it:
//
//   1. It passes on what the program does: `write`, `append`, `resize`. The buffer keeps it.
//   2. At a close or fsync it takes a `Commit` from `begin_commit` and sends that to the leader.
//      The commit says what to write and under which condition.
//   3. It tells the outcome to `commit_ended`. The answer is what close or fsync returns.
//
// A handle writes in one of three ways.
//
//   edit      Opened without O_TRUNC. The handle has an image of the file: what was there when it
//             was opened, with its writes in it. The commit replaces the file by the image, if the
//             file still has the version that the image began with (compare-and-set).
//   whole     Opened with O_TRUNC. The image begins empty, and the commit replaces whatever is
//             there. Until the first write the truncation is alone. The buffer holds it back then,
//             because the write that mostly follows takes it along.
//   append    Written with O_APPEND. There is no image. The commit adds the bytes to whatever is
//             there. O_APPEND counts for each write, as a program may switch it. Once the image has
//             uncommitted bytes, appends go to its end. A truncation of such a handle is not held
//             back: it is a commit of its own, like truncate(2), and does not come here.
//
// An edit that only empties the file, with ftruncate(0) and no write behind it, has no condition:
// what it empties does not matter.
//
// A handle whose open made the file commits unasked while it is open, so that others can follow
// what it writes. Such a commit has the condition that nobody else wrote the file. If somebody did,
// the handle commits when it is asked to, and not before.
//
// Owner, group and mode that are set between a write and the close are deferred, as the time is:
// they are committed with the data. For example, `cp -a` sets all four for each file, and each
// would be a commit. Owner, group and mode are deferred if
//
//   - the handle's open made the file, and the handle has data that is to be committed;
//   - none of its commits is under way, because that may have to be sent again, behind the change;
//   - nobody loses a right by it that he has by what is committed. Otherwise a program on another
//     node could open the file after this one was told that nobody can. Such a change is committed
//     at once. The data's commit has it too, so that it brings back nothing that was set before.
//
// Two handles race in an edit like this:
//
//   1. A and B are opened for editing. Both begin with version 7.
//   2. A is closed. Its commit has the condition "version 7" and makes version 8.
//   3. B is closed. Its commit has the same condition and fails. B is stale: it gets kStale, and
//      commits nothing any more. A may go on: its condition is "version 8" now.
//
// A handle follows its file when that is renamed, also while its commit is under way. The renamed
// file is a new znode, whose versions begin anew:
//
//   1. A's commit has the condition "version 7". It is on its way to the leader.
//   2. B renames the file. Its version is 0 now.
//   3. The commit finds no such znode, and does nothing. Since the file had version 7 when it was
//      renamed, A commits once more, under the new name and with the condition "version 0".
//
// Had the rename come behind A's commit, A's next edit would have the condition "version 0".
//
// Four words say how a handle can fail.
//
//   stale     It lost its file: to another writer, by a removal, or with the lock that it held.
//             All that follows gets kStale.
//   spoilt    A part of its contents was refused. The rest is worth nothing without that part, so
//             all that was not committed is dropped, and all that follows gets the same error.
//   refused   An append was refused. It stood alone, so nothing else goes with it.
//   unknown   A commit has no answer yet. It stays under way: `begin_commit` is not called again
//             before its outcome came. So it takes effect once.
//
// Everything is on the strand.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "fsd/view/file_error.h"
#include "tree/bytes.h"
#include "tree/request.h"
#include "tree/tree.h"
#include "tree/types.h"

namespace zabfs::fsd {

class WriteBuffer {
 public:
  // What the file holds for everybody at this moment.
  struct Committed {
    tree::Bytes data;
    int32_t version = 0;
  };

  // What became of a write or of a commit.
  struct Answer {
    FileError error = FileError::kOk;
    bool spoils = false;  // the handle is spoilt by it: the kernel's size of the file is wrong
    bool again = false;   // the file was renamed before the commit came: a commit is to begin anew
  };

  // A commit that is to be sent. It takes effect only if the znode was created by `czxid`.
  struct Commit {
    bool appends = false;  // else `data` replaces what is there
    tree::Zxid czxid;
    int32_t version = tree::kAnyVersion;  // what it replaces must have this one
    std::string data;
    tree::PosixChange change;  // what was deferred; `base` as it was committed at that time
    tree::SessionId session;   // the one it has to be done in; empty: any
  };

  WriteBuffer() = default;  // of a handle that only reads
  // `flags` are those of open(2). `is_new`: the open made the file, so there is nothing to
  // truncate.
  // O_APPEND with O_TRUNC: the file is truncated already.
  // No file is made longer than `max_bytes`.
  WriteBuffer(int flags, bool is_new, tree::Zxid czxid, const Committed& now, size_t max_bytes);

  // -- what the program does; `now` is what is committed by then
  Answer write(std::string_view bytes, size_t offset, const Committed& now);
  Answer append(std::string_view bytes, const Committed& now);
  Answer resize(size_t size, const Committed& now);
  // Opened with O_APPEND, and nothing was written otherwise since the last commit.
  bool only_appends() const { return is_append_handle_ && !has_own_image(); }
  // Whether what the handle began with is there still, with something behind it that others
  // appended. False if it began with nothing: whatever is there then may be somebody's whole file.
  bool others_appended(const Committed& now) const;
  // The file was emptied by another way, for this handle. `now`: what it holds by then. Example:
  // the handle empties it, and another writer writes it before this one is told. The handle goes on
  // from the empty file, not from that writer's data, so its next commit is stale.
  void emptied(const std::optional<Committed>& now);
  // A write that was refused before it got here, because there is no leader.
  Answer refuse(bool is_append, FileError error);
  // `utimens`, between the last write and the close. True if the time goes with the data that is to
  // be committed; false if there is none.
  bool defer_mtime(tree::Time mtime);
  // `chown` and `chmod`, in the same place. `change.base` is what is committed by then. True if
  // they go with the data alone; false if they are to be committed at once.
  bool defer_owner_and_mode(const tree::PosixChange& change);
  // What is deferred, or in the commit under way; none: nothing. Its time is the file's while that
  // has the version `base.mtime_version`.
  std::optional<tree::PosixChange> deferred() const;
  // What a read through this handle sees. `now`: none if the file is gone.
  std::string image(const std::optional<Committed>& now) const;

  // -- what happens to the file
  // The lock that the handle held is lost, or the file is in no tree that this node has.
  void lose() { is_stale_ = true; }
  // It has no name any more, and its contents are kept elsewhere (`Orphan`). Closes succeed, and
  // commit nothing. `last` is what was committed of it. The result is what the file holds with what
  // this handle had written, if that is something else.
  std::optional<std::string> detach(const tree::Bytes& last);
  // The handle has got a lock. Whoever holds it edits what is there now, not what was there at the
  // open; and what is written under it is committed in this session or not at all, because by the
  // next session somebody else may hold the lock. `now`: none if the file is gone.
  void lock_taken(tree::SessionId session, const std::optional<Committed>& now);
  void lock_given_up() { lock_session_ = {}; }
  // A rename gave the file another version. A handle that was up to date stays so, and one that was
  // behind stays behind.
  void renamed(int32_t version_before, int32_t version);

  // -- commits
  // Bytes were written, or a size was set, and that is not committed yet.
  bool is_dirty() const { return has_new_image_ || !appended_.empty(); }
  // It has written what is to be committed while it is open: appends, or contents of a file that
  // its open made.
  bool commits_unasked() const { return !appended_.empty() || (is_made_here_ && has_new_image_); }
  // Its open truncated the file, nothing was written since, and that is not committed yet.
  bool is_only_truncated() const { return is_only_truncated_; }
  bool has_uncommitted() const { return is_dirty() || is_only_truncated_; }
  bool is_committing() const { return is_committing_; }
  // Whether a FLUSH leaves the commit to a later one. The shell's dup2 causes a FLUSH of its own,
  // so a lone truncation waits for the second FLUSH of the process that opened the file.
  bool waits_at_flush(bool by_opener);
  // The open failed after all. True if there was a lone truncation, which is no more.
  bool cancel_truncation();
  // What is to be committed. None if there is nothing, or the handle is stale; `error` says which.
  // Not while another commit is under way. `czxid` is the file's: a rename changes it. `is_asked`:
  // by a close, fsync or write with O_SYNC.
  std::optional<Commit> begin_commit(tree::Zxid czxid, bool is_asked = true);
  // The outcome of the commit that is under way; kOperationTimeout leaves it under way. `now`: none
  // if the file is gone.
  Answer commit_ended(const tree::Outcome& outcome, const std::optional<Committed>& now);

  // The czxid at the open.
  tree::Zxid czxid() const { return czxid_; }
  // What close and fsync return if there is nothing to commit.
  FileError error() const { return is_stale_ ? FileError::kStale : dropped_error(); }
  // The error with which the handle was spoilt, if that dropped anything that had been accepted.
  FileError dropped_error() const { return has_dropped_ ? spoilt_by_ : FileError::kOk; }
  // What close and fsync return after a commit that ended with `error`. An append that was refused
  // while nobody waited for its commit is told here, once.
  FileError take_append_error(FileError error);

 private:
  struct Rename {
    int32_t version_before, version;
  };

  bool has_own_image() const { return has_new_image_ || is_only_truncated_; }
  void rebase(const Committed& now);
  void begin_image(const Committed& now);
  void follow(const Rename& rename);
  void take_back();
  FileError check() const { return is_stale_ ? FileError::kStale : spoilt_by_; }
  void spoil(FileError error);
  void drop();

  tree::Zxid czxid_;
  bool is_append_handle_ = false;  // opened with O_APPEND
  bool is_whole_ = false;          // opened with O_TRUNC
  bool is_made_here_ = false;      // the open made the file, and nobody else has written it
  int32_t base_version_ = 0;       // the version that the image began with; kNoVersion: behind
  tree::Bytes base_;               // its data, for a handle that edits

  std::optional<std::string>
      image_;                   // once the handle has written; from the open on if `is_whole_`
  std::string appended_;        // appends that are not committed; empty if it has an own image
  bool has_new_image_ = false;  // the image has what is not committed
  size_t max_bytes_ = 0;
  bool is_only_truncated_ = false;  // by its open, and nothing was written since
  bool is_emptied_ = false;         // by ftruncate(0), and nothing was written since
  int flushes_by_opener_ = 0;       // while it was only truncated
  tree::PosixChange deferred_;      // to be committed with the image

  bool is_committing_ = false;
  bool commits_append_ = false;   // the commit under way is an append
  bool is_asked_ = true;          // for the commit under way
  std::string in_flight_;         // which has these bytes; empty if the image has them
  tree::PosixChange committing_;  // what had been deferred, in the commit under way
  std::optional<Rename> rename_;  // during the commit under way, before it or behind it

  tree::SessionId lock_session_;  // in which a lock is held through the handle
  bool is_stale_ = false;
  bool is_detached_ = false;
  FileError spoilt_by_ = FileError::kOk;  // the first error that spoilt it
  bool has_dropped_ = false;              // what had been accepted was dropped with it
  // Of an append that was refused, until somebody is told.
  FileError append_error_ = FileError::kOk;
};

}  // namespace zabfs::fsd
