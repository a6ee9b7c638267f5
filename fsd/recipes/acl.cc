// `@/acl`: the ACL as text. What is written replaces it as a whole at close, `>>` adds lines.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "fsd/recipes/handles.h"
#include "tree/access.h"
#include "tree/digests.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kMaxAclBytes = 256u << 10;
constexpr int kTries = 20;

class AclHandle : public Handle {
 public:
  AclHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kAcl, directory, std::move(opener)) {
    if (replaces()) return;
    written_ = text();
    const tree::ZNode* node = room.tree().find(directory);
    if (node != nullptr) base_version_ = node->stat.aversion;
  }

  void write(std::string_view bytes, off_t offset, bool append, Done done) override {
    if (refused_ != FileError::kOk) return done(refused_);
    std::string& target = append ? appended_ : written_;
    size_t at = append ? appended_.size() : static_cast<size_t>(offset);
    if (at + bytes.size() > kMaxAclBytes) return done(FileError::kTooLarge);
    std::string image = target;
    if (image.size() < at + bytes.size()) image.resize(at + bytes.size(), '\n');
    image.replace(at, bytes.size(), bytes);
    // Lines that are complete are judged now, when a shell still listens.
    std::string lines = image.substr(0, image.rfind('\n') + 1);
    bool blank = lines.find_first_not_of('\n') == std::string::npos;
    if (!blank && !tree::parse_acl_text(lines)) return done(FileError::kInvalid);
    target = std::move(image);
    dirty_ = true;
    done(FileError::kOk);
  }

  void truncate(off_t size) override {
    written_.resize(std::min(static_cast<size_t>(size), written_.size()));
  }

  void flush(Done done) override {
    if (dropped_) return done(refused_);
    if (!std::exchange(dirty_, false)) return done(FileError::kOk);
    room_.writer().when_writable([self = shared_from_this(), this, done] { commit(done, kTries); },
                                 done);
  }

 protected:
  bool drop_written() override { return std::exchange(dirty_, false); }
  void take(size_t, Answer answer) override {
    answer(FileError::kOk, dirty_ ? written_ + appended_ : text());
  }

 private:
  bool replaces() const { return (opener().flags & O_TRUNC) != 0; }

  // As for ZooKeeper's clients, digests stay secret to who may not change the ACL.
  std::string text() const {
    const tree::ZNode* node = room_.tree().find(directory());
    if (node == nullptr) return {};
    const tree::AclList& acl = room_.tree().acl_of(*node);
    bool is_admin =
        owns(*node) || tree::acl_allows(acl, tree::kPermAdmin, tree::identities_of(opener()));
    return tree::acl_text(is_admin ? acl : tree::without_digests(acl));
  }

  bool owns(const tree::ZNode& node) const {
    return opener().uid == 0 || room_.view(node, directory()).uid == opener().uid;
  }

  // As chown(2) and chmod(2) would let the writer.
  bool may_become(const tree::PosixEntry& before, const tree::AclList& wanted) const {
    tree::AclList acl = tree::with_posix({}, before);
    return opener().uid == 0 || tree::may_change(acl, wanted, tree::identities_of(opener()));
  }

  void commit(Done done, int tries) {
    const tree::ZNode* node = room_.tree().find(directory());
    if (node == nullptr || is_lost()) return done(FileError::kStale);
    if (!owns(*node)) return done(FileError::kNotPermitted);  // not any more
    bool adds = !appended_.empty() && !replaces();
    std::string wanted = (adds ? text() : written_) + appended_;
    std::optional<tree::AclList> acl = tree::parse_acl_text(wanted);
    if (!acl) return done(FileError::kInvalid);
    // Kind, owner and the owner's mode stay unless they are written, too; others' bits are the
    // world entry's.
    std::optional<tree::PosixEntry> old = tree::find_posix(room_.tree().acl_of(*node));
    tree::PosixEntry posix = posix_of(room_.view(*node, directory()));
    if (old) posix.inode = old->inode;
    if (!tree::is_valid_posix(*acl)) return done(FileError::kInvalid);
    if (std::optional<tree::PosixEntry> named = tree::find_posix(*acl)) {
      if (!may_become(posix, *acl)) return done(FileError::kNotPermitted);
      posix = *named;
    } else {
      posix.mode =
          (posix.mode & ~(tree::kOthersRead | tree::kOthersWrite)) | tree::world_mode(*acl);
    }
    if (old || tree::find_posix(*acl)) *acl = tree::with_posix(*acl, posix);
    int32_t version = adds ? node->stat.aversion : base_version_;
    room_.writer().commit(
        OpCode::kSetAcl, tree::set_acl_body(directory(), *acl, version),
        [self = shared_from_this(), this, done, adds, tries](const Outcome& outcome) {
          if (outcome.error == Error::kBadVersion && adds && tries > 0) {
            return commit(done, tries - 1);
          }
          if (outcome.error == Error::kOk) {
            appended_.clear();
            written_ = text();
            if (!replaces()) base_version_ = outcome.stat.aversion;
          }
          done(open_file_error_of(outcome.error));
        });
  }

  std::string written_;   // the whole, as this handle edits it
  std::string appended_;  // lines to be added to what is there then
  bool dirty_ = false;
  int32_t base_version_ = tree::kAnyVersion;  // what an edit in place was made of
};

}  // namespace

HandlePtr open_acl(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<AclHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
