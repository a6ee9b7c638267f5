// `@/seq/PREFIX` and `@/ephemeral/NAME`: children made through the room. Reading gives the name,
// what is written becomes the data; an ephemeral child lives as long as the handle that made it.
#include <utility>

#include "fsd/recipes/handles.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

class ChildHandle : public Handle {
 public:
  ChildHandle(Room& room, Control control, const std::string& directory, std::string path,
              tree::Zxid czxid, tree::SessionId session, Opener opener)
      : Handle(room, control, directory, std::move(opener)),
        path_(std::move(path)),
        czxid_(czxid),
        session_(session) {
    if (!owns()) return;
    if (session_ == room.session().id()) {
      room.session().hold();
      holds_ = true;
    } else {
      lose_at_once_ = true;  // its session went while the answer was on its way
    }
  }

  void open(Done opened) override {
    if (lose_at_once_) lose();
    opened(owns() || control() == Control::kSeqFile || may_open() ? FileError::kOk
                                                                  : FileError::kNoAccess);
  }

  // The name is read, data written: these share no offset.
  void read(uint64_t number, size_t size, off_t offset, bool wait, Answer answer) override {
    off_t from = offset == 0 ? 0 : static_cast<off_t>(read_at_);
    Handle::read(number, size, from, wait,
                 [this, from, answer = std::move(answer)](FileError error, std::string_view bytes) {
                   read_at_ = static_cast<size_t>(from) + bytes.size();
                   answer(error, bytes);
                 });
  }

  void write(std::string_view bytes, off_t offset, bool, Done done) override {
    if (is_lost()) return done(FileError::kStale);
    if (refused_ != FileError::kOk) return done(refused_);
    size_t at = offset == 0 ? 0 : written_at_;
    if (at + bytes.size() > room_.limits().data_bytes()) return done(FileError::kTooLarge);
    if (written_.size() < at + bytes.size()) written_.resize(at + bytes.size(), '\0');
    written_.replace(at, bytes.size(), bytes);
    written_at_ = at + bytes.size();
    dirty_ = true;
    done(FileError::kOk);
  }

  void flush(Done done) override {
    if (is_lost()) return done(FileError::kStale);
    if (dropped_) return done(refused_);
    if (!std::exchange(dirty_, false)) return done(FileError::kOk);
    tree::ExtWrite write;
    write.path = path_;
    write.czxid = czxid_;
    write.data = written_;
    room_.writer().commit(OpCode::kExtWrite, encode(write), [done](const Outcome& outcome) {
      done(open_file_error_of(outcome.error));
    });
  }

  void session_lost(tree::SessionId session) override {
    if (!owns() || session != session_) return;
    holds_ = false;
    lose();
  }
  std::string held() const override {
    std::string kind = owns() ? "ephemeral" : "";
    return kind.empty() ? kind : held_line(kind, tree::base_name(path_));
  }

 protected:
  bool drop_written() override { return std::exchange(dirty_, false); }
  void take(size_t, Answer answer) override {
    answer(FileError::kOk, std::string(tree::base_name(path_)) + "\n");
  }
  void leave() override {
    if (!std::exchange(holds_, false)) return;
    room_.session().submit_held(session_, OpCode::kExtRemove,
                                encode(tree::ExtRemove{path_, czxid_, false}),
                                [self = shared_from_this(), this](const Outcome&) {
                                  if (session_ == room_.session().id()) room_.session().let_go();
                                });
  }

 private:
  // What the kernel would say by the child's own name.
  bool may_open() const {
    const tree::ZNode* node = room_.tree().find(path_);
    return node != nullptr && room_.allows(*node, path_, opener(), wanted_by(opener().flags));
  }

  bool owns() const { return session_ != tree::SessionId{}; }

  std::string path_;
  tree::Zxid czxid_;
  tree::SessionId session_;
  std::string written_;
  size_t read_at_ = 0, written_at_ = 0;
  bool dirty_ = false, holds_ = false, lose_at_once_ = false;
};

}  // namespace

HandlePtr open_child(Room& room, Control control, const std::string& directory, std::string path,
                     tree::Zxid czxid, tree::SessionId session, Opener opener) {
  return std::make_shared<ChildHandle>(room, control, directory, std::move(path), czxid, session,
                                       std::move(opener));
}

}  // namespace zabfs::fsd
