#include "fsd/fuse/page_turns.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

namespace zabfs::fsd {

namespace {

constexpr int kReadersTries = 5;          // a millisecond each
constexpr int64_t kAwakeUs = 20'000'000;  // who has asked sleeps long before
constexpr int64_t kCalmMs = 1'000;        // for listings, where contents are not cached

int64_t now_us() {
  auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

int64_t in_ms(int64_t us) { return (us + 999) / 1'000; }

// What the kernel is to have of the version whose pages it has.
void tell_version(const Version& version, struct stat& st) {
  st.st_size = static_cast<off_t>(version.data.size());
  st.st_mtim = version.mtime;
  st.st_ino = version.inode;
}

}  // namespace

PageTurns::PageTurns(consensus::Service& service, Notifications& notifications,
                     const NodeTable& nodes, const NodeReader& reader, int64_t cache_after_ms)
    : service_(service),
      notifications_(notifications),
      nodes_(nodes),
      reader_(reader),
      is_on_(cache_after_ms > 0),
      pages_(std::make_shared<PageCache>((is_on_ ? cache_after_ms : kCalmMs) * 1'000)) {}

Version PageTurns::version_of(const tree::Tree& tree, const tree::ZNode& znode,
                              const std::string& path) const {
  struct stat st = stat_of(reader_.committed_view(tree, znode, path));
  return {znode.stat.mzxid, znode.data, st.st_mtim, st.st_ino};
}

std::optional<Version> PageTurns::current_version(KernelNode id) const {
  return reader_.read([&](const tree::Tree& tree) -> std::optional<Version> {
    Node node;
    const tree::ZNode* znode = reader_.znode_of(tree, id, node);
    if (znode == nullptr) return std::nullopt;
    return version_of(tree, *znode, node.path);
  });
}

PageCache::Use PageTurns::open(const tree::Tree& tree, const Node& node, const tree::ZNode& znode,
                               OpenFile& file) {
  bool may = is_on_ && node.control == Control::kNone && node.kind == tree::Kind::kFile &&
             nodes_.is_stable(node.path) && !changes_without_txn(node.path);
  if (!may) return PageCache::Use::kDirect;
  PageCache::Use use =
      pages_->open(node.id, file.number, file.opener, version_of(tree, znode, node.path), now_us());
  if (use == PageCache::Use::kDirect) return use;
  file.cached = true;
  file.mark = std::shared_ptr<void>(nullptr, [pages = pages_, id = node.id, number = file.number](
                                                 std::nullptr_t) { pages->close(id, number); });
  return use;
}

std::shared_ptr<void> PageTurns::mark_writer(KernelNode id) {
  pages_->writer_opened(id);
  return {nullptr, [pages = pages_, id](std::nullptr_t) { pages->writer_closed(id); }};
}

void PageTurns::before_writing(KernelNode id, std::function<void()> then) {
  if (!pages_->has_readers(id)) return then();
  // Nobody joins them from here on.
  wait_for_readers(id, kReadersTries, [mark = mark_writer(id), then = std::move(then)] { then(); });
}

void PageTurns::wait_for_readers(KernelNode id, int tries, std::function<void()> then) {
  if (!pages_->has_readers(id)) return then();
  if (pages_->readers_stay(id)) return apart_from_reads(id, std::move(then));
  if (tries > 0) {
    return service_.post_after(1, [this, id, tries, then = std::move(then)]() mutable {
      wait_for_readers(id, tries - 1, std::move(then));
    });
  }
  // They stay: from here on they ask before they read.
  pages_->set_readers_stay(id);
  notifications_.forget_attributes(id);
  service_.post_after(in_ms(PageCache::kWriterUs), [this, id, then = std::move(then)]() mutable {
    apart_from_reads(id, std::move(then));
  });
}

void PageTurns::apart_from_reads(KernelNode id, std::function<void()> then) {
  if (!pages_->has_readers(id)) return then();
  apart_from_reads(id, std::make_shared<ThreadWait>(now_us()), std::move(then));
}

void PageTurns::apart_from_reads(KernelNode id, std::shared_ptr<ThreadWait> wait,
                                 std::function<void()> then) {
  int64_t wait_us = pages_->wait_to_write(id, now_us());
  if (wait_us == 0 && !may_copy(id, 0, *wait)) return then();
  service_.post_after(std::max<int64_t>(in_ms(wait_us), 1),
                      [this, id, wait = std::move(wait), then = std::move(then)]() mutable {
                        apart_from_reads(id, std::move(wait), std::move(then));
                      });
}

bool PageTurns::may_copy(KernelNode id, pid_t but, ThreadWait& wait) const {
  std::vector<AnsweredThread> threads = pages_->threads(id, but);
  if (threads.empty()) return false;
  return wait.is_on(threads, pages_->inodes(id), now_us());
}

// Whether a thread may have to hear yet of an answer that makes the kernel change the size.
bool PageTurns::may_land(KernelNode id, pid_t but, ThreadWait& wait) const {
  bool may = false;
  for (const AnsweredThread& thread : pages_->landing(id)) {
    if (thread.id != but && wait.may_land(thread, now_us())) {
      may = true;
    } else {
      pages_->landed(id, thread.id);
    }
  }
  return may;
}

void PageTurns::end_change() {
  pages_->end_change();
  pages_->published(service_.replica().tree().last_zxid(), now_us());
}

bool PageTurns::is_calm(const tree::ZNode& znode) {
  return pages_->is_calm(tree::last_change(znode.stat), now_us());
}

void PageTurns::kernel_wrote(KernelNode id, pid_t thread) { pages_->wrote(id, thread, now_us()); }

std::optional<tree::Bytes> PageTurns::shown(KernelNode id, uint64_t handle) {
  return pages_->pages(id, handle, now_us());
}

void PageTurns::shown_answered(KernelNode id) { pages_->pages_answered(id, now_us()); }

PageCache::Told PageTurns::tell(KernelNode id, tree::Zxid current, pid_t thread, bool ordered,
                                struct stat& st) {
  if (ordered) {
    return pages_->tell(id, current, now_us(),
                        [this, id] { notifications_.forget_attributes(id); });
  }
  std::optional<Version> shown = pages_->unordered(id, current, thread, now_us());
  if (!shown) return PageCache::Told::kTake;
  tell_version(*shown, st);
  return PageCache::Told::kOnce;
}

void PageTurns::tell_shown(KernelNode id, struct stat& st) const {
  if (std::optional<Version> shown = pages_->shown(id)) tell_version(*shown, st);
}

void PageTurns::tell_later(KernelNode id, std::function<void()> then) {
  service_.post_after(in_ms(pages_->wait_to_tell(id, now_us())), std::move(then));
}

void PageTurns::ask(const RequestPtr& request, KernelNode id, const std::shared_ptr<OpenFile>& file,
                    Answer answer) {
  pid_t thread = request->asker().pid;
  std::optional<Version> current = current_version(id);
  if (current && !pages_->asked(id, file->number, thread, current->mzxid)) return answer(request);
  ask_again(std::make_shared<Question>(
      Question{request, id, file, thread, ThreadWait(now_us()), std::move(answer)}));
}

void PageTurns::ask_again(const std::shared_ptr<Question>& question) {
  lane_.post([this, question] { turn(question); });
}

// On the lane, so that none is answered while another one's turn changes size and pages.
void PageTurns::turn(const std::shared_ptr<Question>& question) {
  KernelNode id = question->id;
  uint64_t number = question->file->number;
  pid_t thread = question->thread;
  pages_->set_waiting(id, number, thread, PageCache::Wait::kNone);
  if (!nodes_.find(id)) return static_cast<void>(question->request->reply(ESTALE));
  std::optional<Version> current = current_version(id);
  std::optional<PageCache::Found> found =
      pages_->asked(id, number, thread, current ? current->mzxid : tree::Zxid{-1});
  if (!found) return question->answer(question->request);
  Asking asking = fsd::asking(thread);
  if (asking.is_awake && now_us() < question->wait.since_us() + kAwakeUs) {
    return service_.post_after(1, [this, question] { ask_again(question); });
  }
  bool goes_on = !current || is_in_middle(*question, asking.reads_at, found->own, *current);
  bool is_shown = found->shown.mzxid == (goes_on ? found->own : *current).mzxid;
  if (is_shown && !found->spoiled) {
    pages_->begin_pass(id, number);
    return reply_shown(*question, found->shown);
  }
  PageCache::Wait wait = is_shown ? PageCache::Wait::kSame : PageCache::Wait::kTurn;
  if (pages_->wait_to_show(id, number, wait, question->wait.since_us(), now_us()) > 0 ||
      may_copy(id, thread, question->wait) || may_land(id, thread, question->wait)) {
    // Perhaps less, if others close.
    pages_->set_waiting(id, number, thread, wait);
    return service_.post_after(1, [this, question] { ask_again(question); });
  }
  Version wanted = goes_on ? found->own : current_version(id).value_or(*current);
  if (!pages_->show(id, number, wanted, now_us())) {
    return static_cast<void>(question->request->reply(ESTALE));
  }
  notifications_.forget_pages(id, wanted.data.view());
  pages_->showed(id, now_us());
  reply_shown(*question, wanted);
}

// Whether a read goes on in the handle's own version, rather than beginning with the current one.
bool PageTurns::is_in_middle(Question& question, std::optional<uint64_t> offset, const Version& own,
                             const Version& current) {
  question.at_end = false;
  if (own.mzxid == current.mzxid) return true;
  if (!offset || *offset == 0) return false;
  if (*offset < own.data.size()) return true;
  // The end is told once, as to any other reader.
  question.at_end = true;
  return question.file->end_seen != own.mzxid;
}

void PageTurns::reply_shown(const Question& question, const Version& shown) {
  if (question.at_end) question.file->end_seen = shown.mzxid;
  struct stat st = {};
  reader_.read([&](const tree::Tree& tree) {
    Node node;
    const tree::ZNode* znode = reader_.znode_of(tree, question.id, node);
    st = znode != nullptr ? stat_of(reader_.view(tree, *znode, node.path))
                          : node.last.value_or(stat_of(View{}));
  });
  tell_version(shown, st);
  question.request->reply_attributes(st, 0);
}

}  // namespace zabfs::fsd
