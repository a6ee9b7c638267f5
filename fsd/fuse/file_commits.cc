#include "fsd/fuse/file_commits.h"

#include <utility>

namespace zabfs::fsd {

using tree::OpCode;
using tree::Outcome;

namespace {

// Of the time within which something is to be committed, when to begin.
constexpr double kBegin = 0.8;

}  // namespace

std::optional<WriteBuffer::Committed> FileCommits::committed(KernelNode id) const {
  std::optional<Node> node = nodes_.find(id);
  if (!node || node->gone) return std::nullopt;
  const tree::ZNode* znode = service_.replica().tree().find(node->path);
  if (znode == nullptr) return std::nullopt;
  // One txn may have removed it and made another one of the name.
  if (node->control == Control::kNone && znode->stat.czxid != node->czxid) return std::nullopt;
  return WriteBuffer::Committed{znode->data, znode->stat.version};
}

void FileCommits::note(OpenFile& file, WriteBuffer::Answer answer) {
  file.is_only_truncated = file.written.is_only_truncated();
  bool dirty = file.written.has_uncommitted() || file.written.is_committing();
  if (dirty != file.marked_dirty) {
    if (dirty) {
      std::optional<Node> node = nodes_.find(file.node);
      file.dirty_path = node ? node->path : "";
      notifications_.forget_attributes(file.node);
    }
    file.marked_dirty = dirty;
    nodes_.add_dirty(file.dirty_path, dirty ? +1 : -1);
  }
  if (file.made_inode != 0) deferred_.set(file.made_inode, file.written.deferred());
  // The kernel took the size of what was written.
  if (answer.spoils) notifications_.forget_attributes(file.node);
}

void FileCommits::moved(OpenFile& file, const std::string& path) {
  if (file.marked_dirty) {
    nodes_.add_dirty(file.dirty_path, -1);
    nodes_.add_dirty(path, +1);
    file.dirty_path = path;
  }
  note(file);
}

void FileCommits::commit(const FilePtr& file, Done done) {
  if (file->written.is_committing()) {
    // What is under way first; then what was written since, if anything.
    auto is_answered = std::make_shared<bool>(false);
    uint64_t number = writer_.expect([done, is_answered] {
      *is_answered = true;
      done(FileError::kFailed);
    });
    file->after_commit.push_back([this, file, done, is_answered, number](FileError error) {
      writer_.settled(number);
      if (std::exchange(*is_answered, true)) return;
      if (error == FileError::kOk && file->written.is_dirty()) return commit(file, done);
      done(error == FileError::kOk ? file->written.dropped_error() : error);
    });
    return;
  }
  if (!file->written.has_uncommitted()) return done(file->written.error());
  file->after_commit.push_back(std::move(done));
  begin(file, true);
}

void FileCommits::begin(const FilePtr& file, bool is_asked) {
  ClientSession::Acting as(writes_.session(), file->user);
  std::optional<Node> node = nodes_.find(file->node);
  if (!node || node->gone) file->written.lose();
  std::optional<WriteBuffer::Commit> begun = file->written.begin_commit(
      node && node->control != Control::kData ? node->czxid : file->written.czxid(), is_asked);
  note(*file);
  if (!begun) return over(*file, file->written.error());
  // Without an answer in time it is unknown what became of it. The caller is told so; the commit
  // itself goes on, and the next fsync or close waits for it again.
  send(*node, std::move(*begun),
       [this, file, is_asked](const Outcome& outcome) { answered(file, outcome, is_asked); });
}

void FileCommits::send(const Node& node, WriteBuffer::Commit begun,
                       const consensus::Completion& answered) {
  if (begun.appends) {
    tree::ExtAppend append{node.path, begun.czxid, std::move(begun.data)};
    writes_.commit(OpCode::kExtAppend, encode(append), answered, answered, {}, begun.session);
    return;
  }
  tree::ExtWrite write{node.path, begun.czxid, begun.version, std::move(begun.data), std::nullopt};
  const tree::Tree& tree = service_.replica().tree();
  const tree::ZNode* znode = tree.find(node.path);
  bool lacks_posix =
      znode != nullptr && node.control == Control::kData && !tree::find_posix(tree.acl_of(*znode));
  if (znode != nullptr && (lacks_posix || !begun.change.is_empty())) {
    tree::PosixEntry committed = posix_of(reader_.committed_view(tree, *znode, node.path));
    tree::PosixChange change = still_holding(begun.change, committed);
    change.base = committed;
    if (lacks_posix || !change.is_empty()) write.posix = change;
  }
  writes_.commit(OpCode::kExtWrite, encode(write), answered, answered, {}, begun.session);
}

void FileCommits::answered(const FilePtr& file, const Outcome& outcome, bool is_asked) {
  WriteBuffer::Answer answer = file->written.commit_ended(outcome, committed(file->node));
  note(*file, answer);
  if (answer.again) return begin(file, is_asked);
  over(*file, answer.error);
}

void FileCommits::over(OpenFile& file, FileError error) {
  for (auto& waiter : std::exchange(file.after_commit, {})) waiter(error);
}

void FileCommits::commit_and_tell(const FilePtr& file, Done tell) {
  commit(file, [file, tell = std::move(tell)](FileError error) {
    tell(file->written.take_append_error(error));
  });
}

void FileCommits::commit_soon(const FilePtr& file) {
  if (commit_after_ms_ == 0 || std::exchange(file->flush_timer, true)) return;
  auto begin_ms = static_cast<int64_t>(kBegin * static_cast<double>(commit_after_ms_));
  service_.post_after(begin_ms, [this, file] {
    file->flush_timer = false;
    if (!file->written.commits_unasked()) return;
    if (file->written.is_committing()) return commit_soon(file);
    begin(file, false);
  });
}

}  // namespace zabfs::fsd
