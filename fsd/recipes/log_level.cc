// `@/log-level`: what this node's log is told. Root writes another level; it holds from the close
// until it is changed again or zabfsd is started anew.
#include "fsd/log_level.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "fsd/recipes/handles.h"

namespace zabfs::fsd {

namespace {

constexpr size_t kMaxLevelBytes = 64;

class LogLevelHandle : public Handle {
 public:
  using Handle::Handle;

  void write(std::string_view bytes, off_t offset, bool append, Done done) override {
    if (opener().uid != 0) return done(FileError::kNotPermitted);
    size_t at = append ? written_.size() : static_cast<size_t>(offset);
    if (at + bytes.size() > kMaxLevelBytes) return done(FileError::kTooLarge);
    if (written_.size() < at + bytes.size()) written_.resize(at + bytes.size(), '\n');
    written_.replace(at, bytes.size(), bytes);
    done(FileError::kOk);
  }

  void truncate(off_t size) override {
    written_.resize(std::min(static_cast<size_t>(size), written_.size()));
  }

  void flush(Done done) override {
    if (dropped_) return done(refused_);
    std::string wanted = std::exchange(written_, {});
    if (wanted.empty()) return done(FileError::kOk);
    while (wanted.ends_with('\n')) wanted.pop_back();
    std::optional<spdlog::level::level_enum> level = log_level_named(wanted);
    if (!level) return done(FileError::kInvalid);
    std::string before = log_level();
    set_log_level(std::min(*level, spdlog::level::info));  // told whatever the level is
    room_.service().log(
        consensus::LogLevel::kInfo,
        fmt::format("the log's level is {} from now on; it was {}", wanted, before));
    set_log_level(*level);
    done(FileError::kOk);
  }

 protected:
  bool drop_written() override { return !std::exchange(written_, {}).empty(); }
  void take(size_t, Answer answer) override { answer(FileError::kOk, log_level() + "\n"); }

 private:
  std::string written_;
};

}  // namespace

HandlePtr open_log_level(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<LogLevelHandle>(room, Control::kLogLevel, directory, std::move(opener));
}

}  // namespace zabfs::fsd
