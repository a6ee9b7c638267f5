// `@/work`: a queue whose items are given again unless they are acknowledged.
//
// Items are DIR/@/work/w-0000000042, their data is the item. Whoever reads one makes the ephemeral
// child `@` of it, and nobody else is given it then. The child goes when the handle is closed, and
// with the session of a node that died; the item is free again. `ack`, written to the handle,
// removes both in one txn, in the session of the child: an acknowledgement whose session was lost
// is refused, since somebody else may have the item by then.
#include <optional>
#include <utility>

#include "fsd/recipes/handles.h"
#include "fsd/view/contenders.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

class WorkHandle : public Handle {
 public:
  WorkHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kWork, directory, std::move(opener)),
        queue_(hidden_path(directory, kWorkChild)) {
    room.listen(this);
  }

  void write(std::string_view bytes, off_t, bool, Done done) override {
    if (is_lost()) return done(FileError::kStale);
    bool holds = item_.has_value();
    if (holds && bytes != "ack" && bytes != "ack\n") return done(FileError::kInvalid);
    if (bytes.size() > room_.limits().data_bytes()) return done(FileError::kTooLarge);
    auto body = [self = shared_from_this(), this, holds, bytes = std::string(bytes), done] {
      holds ? acknowledge(done) : add(bytes, done);
    };
    room_.writer().when_writable(std::move(body), done);
  }

  void published(const std::vector<tree::Change>& changes) override {
    bool concerns = false;
    for (const tree::Change& change : changes) {
      concerns = concerns || is_end_of_directory(change);
      if (!tree::is_within(change.path, queue_)) continue;
      concerns = true;
      bool is_deleted = change.type == tree::ChangeType::kDeleted;
      if (is_deleted && item_ && !is_leaving_ && change.path == claim_of(item_->path)) {
        let_go();
        lose();  // by others' hands
      }
    }
    if (concerns) room_.serve(Control::kWork, directory());
  }
  void tree_replaced() override { room_.serve(Control::kWork, directory()); }
  void session_lost(tree::SessionId session) override {
    if (!item_ || session != session_) return;
    item_.reset();
    lose();
  }
  std::string held() const override { return item_ ? held_line("work", "@/work") : std::string(); }

 protected:
  bool is_ready() const override { return item_ || (!is_claiming_ && oldest()); }

  void take(size_t, Answer answer) override {
    if (item_) return answer(FileError::kOk, item_->data.view());
    // Its other reads wait for this one, and get the same item.
    is_claiming_ = true;
    Answer claimed = [self = shared_from_this(), this, answer](FileError error,
                                                               std::string_view bytes) {
      is_claiming_ = false;
      answer(error, bytes);
      if (item_) return wake();
      room_.serve(Control::kWork, directory());
    };
    room_.writer().when_writable([self = shared_from_this(), this, claimed] { claim(claimed); },
                                 [claimed](FileError error) { claimed(error, {}); });
  }

  void leave() override {
    has_left_ = true;
    give_back();
  }

 private:
  struct Item {
    std::string path;
    int64_t sequence;
    tree::Zxid czxid;
    tree::Bytes data;
  };

  static std::string claim_of(const std::string& item) { return tree::join_path(item, kHidden); }

  // The oldest item that nobody has, of those that this reader may read.
  std::optional<Item> oldest() const {
    std::optional<Item> found;
    const tree::ZNode* queue = room_.tree().find(queue_);
    if (queue == nullptr) return found;
    room_.tree().for_each_child(*queue, [&](const tree::ZNode& child) {
      std::optional<int64_t> sequence = sequence_of(child.name.view());
      if (!sequence || child.children.size() > 0) return;
      if (found && found->sequence <= *sequence) return;
      std::string path = tree::join_path(queue_, child.name.view());
      if (room_.claimed().contains(path)) return;
      if (!may(room_.view(child, path), opener(), kMayRead)) return;
      found = Item{path, *sequence, child.stat.czxid, child.data};
    });
    return found;
  }

  void claim(const Answer& answer) {
    std::optional<Item> item = oldest();
    if (!item || has_left_) return answer(FileError::kTryAgain, {});
    room_.claimed().insert(item->path);
    std::string body =
        tree::create_body(claim_of(item->path), room_.owner_text(opener()),
                          acl_for_new(tree::Kind::kFile, 0644, 0, 0), tree::kCreateEphemeral);
    auto claimed = [self = shared_from_this(), this, item = *item, answer](const Outcome& outcome) {
      room_.claimed().erase(item.path);
      if (outcome.error == Error::kOk) return got(item, outcome, answer);
      if (outcome.error == Error::kNodeExists || outcome.error == Error::kNoNode) {
        return claim(answer);
      }
      answer(file_error_of(outcome.error), {});
    };
    auto late = [self = shared_from_this(), this, item = *item](const Outcome& outcome) {
      if (outcome.error == Error::kOk) remove_claim(item, session_of(outcome), [] {});
    };
    room_.writer().commit(OpCode::kCreate2, std::move(body), std::move(claimed), std::move(late));
  }

  static tree::SessionId session_of(const Outcome& outcome) {
    return tree::SessionId{outcome.stat.ephemeral_owner};
  }

  void got(const Item& item, const Outcome& outcome, const Answer& answer) {
    session_ = session_of(outcome);
    if (session_ != room_.session().id()) return answer(FileError::kTryAgain, {});
    item_ = item;
    room_.session().hold();
    if (has_left_) give_back();
    answer(has_left_ ? FileError::kTryAgain : FileError::kOk, item.data.view());
  }

  void acknowledge(const Done& done) {
    if (!item_) return done(FileError::kStale);
    is_leaving_ = true;
    auto removed = [self = shared_from_this(), this, done](const Outcome& outcome) {
      is_leaving_ = false;
      if (outcome.error == Error::kOk) {
        let_go();
        return done(FileError::kOk);
      }
      lose();  // whether it was done is not known, or somebody else has the item
      bool is_known = outcome.error != Error::kOperationTimeout;
      done(is_known ? FileError::kStale : FileError::kFailed);
    };
    room_.writer().commit(OpCode::kExtRemove,
                          encode(tree::ExtRemove{item_->path, item_->czxid, true}),
                          std::move(removed), nullptr, session_);
  }

  void add(const std::string& bytes, const Done& done) {
    std::string body =
        tree::create_body(tree::join_path(queue_, kItemPrefix), bytes,
                          room_.acl_for_made(directory(), opener()), tree::kCreateSequential);
    auto added = [self = shared_from_this(), this, bytes, done](const Outcome& outcome) {
      bool is_first = outcome.error == Error::kNoNode && room_.tree().find(directory()) != nullptr;
      if (!is_first) return done(open_file_error_of(outcome.error));
      room_.create_hidden(
          directory(), std::string(kWorkChild), "", [self, this, bytes, done](const Outcome& made) {
            bool is_there = made.error == Error::kOk || made.error == Error::kNodeExists;
            is_there ? add(bytes, done) : done(open_file_error_of(made.error));
          });
    };
    room_.writer().commit(OpCode::kCreate2, std::move(body), std::move(added));
  }

  void give_back() {
    if (!item_) return;
    Item item = *item_;
    is_leaving_ = true;
    remove_claim(item, session_, [self = shared_from_this(), this] { let_go(); });
  }

  void remove_claim(const Item& item, tree::SessionId session, std::function<void()> done) {
    room_.session().submit_held(session, OpCode::kDelete,
                                tree::delete_body(claim_of(item.path), tree::kAnyVersion),
                                [done = std::move(done)](const Outcome&) { done(); });
  }

  void let_go() {
    if (!item_) return;
    item_.reset();
    if (session_ == room_.session().id()) room_.session().let_go();
  }

  static constexpr std::string_view kItemPrefix = "w-";

  const std::string queue_;
  std::optional<Item> item_;  // that this handle has
  tree::SessionId session_;   // of its child
  bool is_claiming_ = false;
  bool is_leaving_ = false;  // this handle removes the child itself
  bool has_left_ = false;
};

}  // namespace

HandlePtr open_work(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<WorkHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
