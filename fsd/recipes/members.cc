// `@/members`: the configuration in force, as ZooKeeper writes it. What is written replaces it at
// close, `>>` adds lines: a reconfiguration, as of the version that the text names.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <sstream>
#include <utility>

#include "consensus/reconfig.h"
#include "fsd/recipes/handles.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr size_t kMaxChangeBytes = 256u << 10;
constexpr std::string_view kVersion = "version=";

// The lines of members and groups, and the version that they were read at (-1: whatever it is).
struct Wanted {
  std::string members;
  int64_t version = -1;
};

std::optional<Wanted> parse(const std::string& text) {
  Wanted wanted;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(kVersion)) {
      wanted.members += line + "\n";
      continue;
    }
    const char* end = line.data() + line.size();
    auto [stop, error] = std::from_chars(line.data() + kVersion.size(), end, wanted.version, 16);
    if (error != std::errc() || stop != end) return std::nullopt;
  }
  return wanted;
}

// Why the leader refuses it, and what can be done: an errno says less.
const char* reason_of(Error error) {
  if (error == Error::kReconfigDisabled) return "set reconfigEnabled=true in every zoo.cfg";
  if (error == Error::kBadVersion) return "somebody else has changed them; read them again";
  if (error == Error::kReconfigInProgress) return "another change is under way; try again";
  if (error == Error::kNewConfigNoQuorum) {
    return "of the new members too few are in sync with the leader to be a quorum";
  }
  if (error == Error::kUnimplemented) return "a server that is alone can't become an ensemble";
  if (error == Error::kBadArguments) {
    return "a line is malformed, two members share an address, or too few members would vote";
  }
  return tree::error_name(error);
}

FileError file_error(Error error) {
  if (error == Error::kReconfigDisabled) return FileError::kUnsupported;
  if (error == Error::kReconfigInProgress) return FileError::kTryAgain;
  if (error == Error::kNewConfigNoQuorum) return FileError::kBusy;
  return file_error_of(error);
}

class MembersHandle : public Handle {
 public:
  MembersHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kMembers, directory, std::move(opener)) {
    if ((this->opener().flags & O_TRUNC) == 0) written_ = text();
  }

  void write(std::string_view bytes, off_t offset, bool append, Done done) override {
    if (opener().uid != 0) return done(FileError::kNotPermitted);
    size_t at = append ? written_.size() : static_cast<size_t>(offset);
    if (at + bytes.size() > kMaxChangeBytes) return done(FileError::kTooLarge);
    if (append && !written_.empty() && !written_.ends_with('\n')) {
      written_ += '\n';
      at = written_.size();
    }
    if (written_.size() < at + bytes.size()) written_.resize(at + bytes.size(), '\n');
    written_.replace(at, bytes.size(), bytes);
    dirty_ = true;
    done(FileError::kOk);
  }

  void truncate(off_t size) override {
    written_.resize(std::min(static_cast<size_t>(size), written_.size()));
  }

  void flush(Done done) override {
    if (dropped_) return done(refused_);
    if (!std::exchange(dirty_, false)) return done(FileError::kOk);
    std::optional<Wanted> wanted = parse(written_);
    if (!wanted) return done(FileError::kInvalid);
    room_.writer().when_writable(
        [self = shared_from_this(), this, wanted = *wanted, done] { commit(wanted, done); }, done);
  }

 protected:
  bool drop_written() override { return std::exchange(dirty_, false); }
  void take(size_t, Answer answer) override { answer(FileError::kOk, dirty_ ? written_ : text()); }

 private:
  std::string text() const { return room_.service().replica().zab().ensemble().text() + "\n"; }

  void commit(const Wanted& wanted, Done done) {
    room_.writer().commit(
        OpCode::kReconfig, consensus::reconfig_body(wanted.members, wanted.version),
        [self = shared_from_this(), this, done](const Outcome& outcome) {
          if (outcome.error != Error::kOk) {
            room_.service().log_limited(
                consensus::LogLevel::kWarning,
                fmt::format("the members stay as they are: {}", reason_of(outcome.error)));
          }
          done(file_error(outcome.error));
        });
  }

  std::string written_;  // the whole, as this handle edits it
  bool dirty_ = false;
};

}  // namespace

HandlePtr open_members(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<MembersHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
