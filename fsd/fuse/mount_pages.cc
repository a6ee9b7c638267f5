// Contents through the kernel's page cache (page_cache.h): who may use it, and how readers and
// writers of one file are kept apart.
#include <cerrno>
#include <chrono>
#include <utility>

#include "fsd/fuse/mount.h"

namespace zabfs::fsd {

namespace {

constexpr int kReadersTries = 5;  // a millisecond each

int64_t now_us() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

int64_t in_ms(int64_t us) { return (us + 999) / 1'000; }

}  // namespace

Version Mount::version_of(const tree::Tree& tree, const tree::ZNode& znode,
                          const std::string& path) const {
  return {znode.stat.mzxid, znode.data, stat_of(view(tree, znode, path)).st_mtim};
}

std::optional<Version> Mount::current_version(KernelNode id) const {
  return service_.replica().read([&](const tree::Tree& tree) -> std::optional<Version> {
    Node node;
    const tree::ZNode* znode = znode_of(tree, id, node);
    if (znode == nullptr) return std::nullopt;
    return version_of(tree, *znode, node.path);
  });
}

// Under the tree's lock.
PageCache::Use Mount::open_pages(const tree::Tree& tree, const Node& node, const tree::ZNode& znode,
                                 const FilePtr& file) {
  bool may = config_.cache_after_ms > 0 && node.control == Control::kNone &&
             node.kind == tree::Kind::kFile && nodes_.is_stable(node.path) &&
             !changes_without_txn(node.path);
  if (!may) return PageCache::Use::kDirect;
  PageCache::Use use = pages_->open(node.id, file->number, file->opener,
                                    version_of(tree, znode, node.path), now_us());
  if (use == PageCache::Use::kDirect) return use;
  file->cached = true;
  file->mark = std::shared_ptr<void>(nullptr, [pages = pages_, id = node.id, number = file->number](
                                                  std::nullptr_t) { pages->close(id, number); });
  return use;
}

std::shared_ptr<void> Mount::mark_writer(KernelNode id) {
  pages_->writer_opened(id);
  return {nullptr, [pages = pages_, id](std::nullptr_t) { pages->writer_closed(id); }};
}

void Mount::before_writing(KernelNode id, std::function<void()> then) {
  if (!pages_->has_readers(id)) return then();
  // Nobody joins them from here on.
  wait_for_readers(id, kReadersTries, [mark = mark_writer(id), then = std::move(then)] { then(); });
}

void Mount::wait_for_readers(KernelNode id, int tries, std::function<void()> then) {
  if (!pages_->has_readers(id)) return then();
  if (pages_->readers_stay(id)) return apart_from_reads(id, std::move(then));
  if (tries > 0) {
    return service_.post_after(1, [this, id, tries, then = std::move(then)]() mutable {
      wait_for_readers(id, tries - 1, std::move(then));
    });
  }
  // They stay: from here on they ask before they read.
  pages_->set_readers_stay(id);
  kernel_.forget_attributes(id);
  service_.post_after(in_ms(PageCache::kWriterUs), [this, id, then = std::move(then)]() mutable {
    apart_from_reads(id, std::move(then));
  });
}

void Mount::apart_from_reads(KernelNode id, std::function<void()> then) {
  if (!pages_->has_readers(id)) return then();
  apart_from_reads(id, std::make_shared<CopyWait>(now_us()), std::move(then));
}

void Mount::apart_from_reads(KernelNode id, std::shared_ptr<CopyWait> copies,
                             std::function<void()> then) {
  int64_t wait_us = pages_->wait_to_write(id, now_us());
  if (wait_us == 0 && !may_copy(id, 0, *copies)) return then();
  service_.post_after(std::max<int64_t>(in_ms(wait_us), 1),
                      [this, id, copies = std::move(copies), then = std::move(then)]() mutable {
                        apart_from_reads(id, std::move(copies), std::move(then));
                      });
}

bool Mount::may_copy(KernelNode id, pid_t but, CopyWait& copies) const {
  std::vector<pid_t> threads = pages_->threads(id, but);
  if (threads.empty()) return false;
  std::optional<Node> node = nodes_.find(id);
  return node && copies.is_on(threads, inode_number(node->czxid, node->path), now_us());
}

void Mount::note_published() { pages_->published(service_.replica().tree().last_zxid(), now_us()); }

bool Mount::is_calm(const tree::ZNode& znode) {
  return pages_->is_calm(std::max(znode.stat.mzxid, znode.stat.pzxid), now_us());
}

void Mount::kernel_wrote(KernelNode id) { pages_->wrote(id, now_us()); }

std::optional<tree::Bytes> Mount::pages_shown(KernelNode id, uint64_t handle) {
  return pages_->pages(id, handle, now_us());
}

// Under the tree's lock. `ordered`: the kernel drops this answer if it forgets meanwhile.
PageCache::Told Mount::tell(KernelNode id, tree::Zxid current, bool ordered, struct stat& st) {
  if (ordered) {
    return pages_->tell(id, current, now_us(), [this, id] { kernel_.forget_attributes(id); });
  }
  std::optional<Version> shown = pages_->unordered(id, current, now_us());
  if (!shown) return PageCache::Told::kTake;
  st.st_size = static_cast<off_t>(shown->data.size());
  st.st_mtim = shown->mtime;
  return PageCache::Told::kOnce;
}

void Mount::tell_later(KernelNode id, std::function<void()> then) {
  service_.post_after(in_ms(pages_->wait_to_tell(id, now_us())), std::move(then));
}

// A GETATTR by a handle that reads through the page cache: a read, before it looks at the pages.
void Mount::answer_reader(fuse_req_t req, fuse_ino_t id, const FilePtr& file) {
  std::optional<Node> node = nodes_.find(id);
  if (file->lost || !node) return static_cast<void>(fuse_reply_err(req, ESTALE));
  if (releases_.holds(node->path, [this, req, id, file] { answer_reader(req, id, file); })) {
    return;
  }
  pid_t thread = fuse_req_ctx(req)->pid;
  std::optional<Version> current = current_version(id);
  if (current && !pages_->asked(id, file->number, thread, current->mzxid)) {
    return reply_attributes(req, id, nullptr, true);
  }
  ask_again(std::make_shared<Question>(Question{req, id, file, thread, CopyWait(now_us()), false}));
}

void Mount::ask_again(const std::shared_ptr<Question>& question) {
  page_lane_.post([this, question] { show_pages(question); });
}

// On the lane, so that none is answered while another one's turn changes size and pages.
void Mount::show_pages(const std::shared_ptr<Question>& question) {
  auto [req, id, file, thread, copies] =
      std::tie(question->req, question->id, question->file, question->thread, question->copies);
  pages_->set_waiting(id, file->number, thread, PageCache::Wait::kNone);
  if (!nodes_.find(id)) return static_cast<void>(fuse_reply_err(req, ESTALE));
  std::optional<Version> current = current_version(id);
  std::optional<PageCache::Found> found =
      pages_->asked(id, file->number, thread, current ? current->mzxid : tree::Zxid{-1});
  if (!found) return reply_attributes(req, id, nullptr, true);
  bool stays = !current || goes_on(*question, found->shown, *current);
  if (stays && !found->spoiled) return reply_shown(*question, found->shown);
  PageCache::Wait wait = stays ? PageCache::Wait::kSame : PageCache::Wait::kTurn;
  if (pages_->wait_to_show(id, file->number, wait, copies.since_us(), now_us()) > 0 ||
      may_copy(id, thread, copies)) {  // perhaps less, if others close
    pages_->set_waiting(id, file->number, thread, wait);
    return service_.post_after(1, [this, question] { ask_again(question); });
  }
  if (!stays) current = current_version(id);
  std::optional<Version> shown =
      pages_->show(id, file->number, stays ? std::nullopt : current, now_us());
  if (!shown) return static_cast<void>(fuse_reply_err(req, ESTALE));
  kernel_.forget_pages(id, shown->data.view());
  pages_->showed(id, now_us());
  reply_shown(*question, *shown);
}

// Whether a read goes on in the version that is shown, rather than beginning with the current one.
bool Mount::goes_on(Question& question, const Version& shown, const Version& current) {
  question.at_end = false;
  if (shown.mzxid == current.mzxid) return true;
  std::optional<uint64_t> offset = reading_at(question.thread);
  if (!offset || *offset == 0) return false;
  if (*offset < shown.data.size()) return true;
  // The end is told once, as to any other reader.
  question.at_end = true;
  return question.file->end_seen != shown.mzxid;
}

void Mount::reply_shown(const Question& question, const Version& shown) {
  if (question.at_end) question.file->end_seen = shown.mzxid;
  struct stat st = {};
  service_.replica().read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = znode_of(tree, question.id, node);
    st = znode != nullptr ? stat_of(view(tree, *znode, node.path))
                          : node.last.value_or(stat_of(View{}));
  });
  st.st_size = static_cast<off_t>(shown.data.size());
  st.st_mtim = shown.mtime;
  fuse_reply_attr(question.req, &st, 0);
}

}  // namespace zabfs::fsd
