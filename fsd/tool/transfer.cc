// zabfs export and import: a directory of the mount as a directory elsewhere, or as a tar file.
//
// Both go through the node, by `@/export` and `@/import` of the directory: an export is the tree at
// one zxid, an import is a row of commits, each of as many files as fit. This is the other end of
// the stream (fsd/transfer/record.h), and what is outside the tree (fsd/archive).
#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <ctime>
#include <filesystem>
#include <map>
#include <memory>
#include <sstream>

#include "fsd/archive/archive_sink.h"
#include "fsd/archive/archive_source.h"
#include "fsd/archive/directory_sink.h"
#include "fsd/archive/directory_source.h"
#include "fsd/backup/output.h"
#include "fsd/progress.h"
#include "fsd/tool/process.h"
#include "fsd/tool/tool.h"
#include "fsd/transfer/record.h"

namespace zabfs::tool {

namespace fs = std::filesystem;
using archive::Sink;
using archive::Source;
using fsd::Descriptor;

namespace {

constexpr size_t kPieceBytes = 1u << 20;  // as much as a mount takes at once
constexpr size_t kMaxTold = 20;           // of the files that were left out

// ends.h says what names are in an archive: bytes of UTF-8, wherever this runs.
void read_names_as_utf8() {
  if (std::setlocale(LC_CTYPE, "C.UTF-8") == nullptr) std::setlocale(LC_CTYPE, "");
}

// A signal that would have ended it: what there is to say is said, and then it does.
std::optional<int> interrupted(fsd::Progress& progress, const std::string& state) {
  Caught signal = caught();
  if (signal.number == 0) return std::nullopt;
  progress.clear();
  fail("interrupted: " + state);
  return signal.number;
}

int end_by(int signal) {
  ::signal(signal, SIG_DFL);
  ::raise(signal);
  return kFailed;
}

std::string time_text(int64_t time_ms) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(static_cast<time_t>(time_ms / 1000)));
}

// ---- export

const char* reason_text(transfer::Reason why) {
  switch (why) {
    case transfer::Reason::kNoAccess:
      return "you may not read it: it is not in the export";
    case transfer::Reason::kSecrets:
      return "you may not see the digests of its ACL: its entries with digests are not in the "
             "export";
    case transfer::Reason::kNoFile:
      return "it is a socket, or a symlink that leads nowhere: it is not in the export";
    case transfer::Reason::kLongName:
      return "a child's name is too long for a file: it is not in the export";
  }
  return "it is not in the export";
}

// What an export goes to: the end of it that knows entries, and what makes it appear.
struct Target {
  std::unique_ptr<backup::Output> file;
  std::unique_ptr<Sink> sink;
};

StatusOr<Target> open_target(const std::string& name) {
  Target target;
  if (name == "-") {
    if (::isatty(STDOUT_FILENO) != 0) {
      return Status::failed("standard output is a terminal: redirect it, or name a file");
    }
    target.sink = std::make_unique<archive::ArchiveSink>(STDOUT_FILENO, "standard output",
                                                         archive::Packing::kNone);
    return target;
  }
  if (std::optional<archive::Packing> packing = archive::packing_of(name)) {
    target.file = std::make_unique<backup::Output>(name);
    if (Status status = target.file->open(); !status.ok()) return status;
    target.sink = std::make_unique<archive::ArchiveSink>(target.file->fd(), name, *packing);
    return target;
  }
  std::error_code error;
  if (!fs::create_directory(name, error)) {
    if (error) return Status::failed(fmt::format("{}: {}", name, error.message()));
    if (!fs::is_empty(name, error)) {
      return Status::failed(fmt::format("{} must be new, or an empty directory", name));
    }
  }
  Descriptor directory(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) return Status::failed(error_of(name));
  target.sink = std::make_unique<archive::DirectorySink>(std::move(directory), name);
  return target;
}

class Export {
 public:
  Export(std::string directory, std::string target)
      : directory_(std::move(directory)), target_name_(std::move(target)) {}

  int run() {
    std::string name = join(directory_, "@/export");
    // What was committed before is to be in it. Without a quorum nobody can say what that is.
    bool is_current = barrier(directory_);
    int barrier_error = errno;
    stream_ = Descriptor(::open(name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!stream_) return fail(error_of(name));
    if (!is_current) {
      errno = barrier_error;
      fmt::print(stderr, "zabfs: {}; what was committed last may not be in the export\n",
                 barrier_error_of(directory_));
    }
    StatusOr<Target> target = open_target(target_name_);
    if (!target.ok()) return fail(target.why());
    Status status = copy(*target->sink);
    if (signal_) return end_by(*signal_);
    if (status.ok()) status = target->sink->finish();
    if (status.ok() && target->file) status = target->file->finish();
    progress_.clear();
    if (!status.ok()) return fail(status.why());
    return tell(*target->sink);
  }

 private:
  Status copy(Sink& sink) {
    std::string piece(kPieceBytes, '\0');
    while (!decoder_.has_ended()) {
      ssize_t size = ::read(stream_.get(), piece.data(), piece.size());
      if ((signal_ = interrupted(progress_, target_name_ + " is not to be used"))) return {};
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return Status::failed(error_of(join(directory_, "@/export")));
      if (size == 0) return Status::failed(directory_ + ": the node ended the export too early");
      decoder_.feed(std::string_view(piece).substr(0, static_cast<size_t>(size)));
      done_ += static_cast<uint64_t>(size);
      while (std::optional<transfer::Record> record = decoder_.next()) {
        if (Status status = take(*record, sink); !status.ok()) return status;
      }
      if (!decoder_.status().ok()) return decoder_.status();
      progress_.at(done_);
    }
    return {};
  }

  Status take(const transfer::Record& record, Sink& sink) {
    if (const auto* header = std::get_if<transfer::Header>(&record)) {
      header_ = *header;
      progress_.begin("exports " + directory_, static_cast<uint64_t>(header->bytes));
    } else if (const auto* entry = std::get_if<transfer::Entry>(&record)) {
      return sink.put(*entry);
    } else if (const auto* left_out = std::get_if<transfer::LeftOut>(&record)) {
      leave_out(*left_out);
    } else if (const auto* end = std::get_if<transfer::End>(&record)) {
      end_ = *end;
    }
    return {};
  }

  void leave_out(const transfer::LeftOut& left_out) {
    if (left_out.why != transfer::Reason::kNoFile) ++missing_;
    if (++left_out_ > kMaxTold) return;
    progress_.clear();
    fmt::print(
        stderr, "zabfs: {}: {}\n",
        transfer::printable(left_out.path.empty() ? directory_ : join(directory_, left_out.path)),
        reason_text(left_out.why));
  }

  int tell(const Sink& sink) {
    if (left_out_ > kMaxTold) {
      fmt::print(stderr, "zabfs: ... and {} more were left out\n", left_out_ - kMaxTold);
    }
    if (sink.incomplete() > 0) {
      fmt::print(stderr,
                 "zabfs: {} cannot hold the ACL or the time to live of {} entries; a tar can\n",
                 target_name_, sink.incomplete());
    }
    fmt::print(stderr, "exported {} entries, {} bytes, as of zxid 0x{:x}", end_.entries, end_.bytes,
               header_.zxid.value);
    if (header_.time_ms > 0) fmt::print(stderr, "; last change {}", time_text(header_.time_ms));
    fmt::print(stderr, "\n");
    return missing_ > 0 ? kFailed : 0;
  }

  const std::string directory_, target_name_;
  Descriptor stream_;
  transfer::Decoder decoder_{archive::kMaxFileBytes};
  transfer::Header header_;
  transfer::End end_;
  fsd::Progress progress_;
  uint64_t done_ = 0;
  size_t left_out_ = 0, missing_ = 0;
  std::optional<int> signal_;
};

// ---- import

class Import {
 public:
  // Without a source it is what the options name.
  Import(const ImportTreeOptions& options, Source* source)
      : options_(options), stream_name_(join(options.directory, "@/import")), source_(source) {}

  int run() {
    Status status = source_ != nullptr ? Status() : open_source();
    if (!status.ok()) return fail(status.why());
    stream_ = Descriptor(::open(stream_name_.c_str(), O_RDWR | O_CLOEXEC));
    if (!stream_) return fail(error_of(stream_name_));
    progress_.begin((options_.dry_run ? "compares " : "imports ") + options_.source,
                    source_->total());
    status = copy();
    if (signal_) return end_by(*signal_);
    progress_.clear();
    return tell(status);
  }

 private:
  Status open_source() {
    if (options_.source == "-") {
      return take(std::make_unique<archive::ArchiveSource>(STDIN_FILENO, "standard input"));
    }
    input_ = Descriptor(::open(options_.source.c_str(), O_RDONLY | O_CLOEXEC));
    struct stat st = {};
    if (!input_ || ::fstat(input_.get(), &st) != 0)
      return Status::failed(error_of(options_.source));
    if (!S_ISDIR(st.st_mode)) {
      return take(std::make_unique<archive::ArchiveSource>(input_.get(), options_.source));
    }
    auto directory = std::make_unique<archive::DirectorySource>(std::move(input_), options_.source);
    if (::isatty(STDERR_FILENO) != 0) directory->measure();
    return take(std::move(directory));
  }

  Status take(std::unique_ptr<Source> source) {
    own_source_ = std::move(source);
    source_ = own_source_.get();
    return {};
  }

  Status copy() {
    transfer::Header header;
    header.removes_others = options_.removes_others;
    header.is_dry_run = options_.dry_run;
    encode(header, buffer_);
    transfer::End end;
    while (true) {
      Source::Taken taken = source_->next();
      if ((signal_ = interrupted(progress_,
                                 "what was committed stays, and the same command goes on"
                                 " from there"))) {
        return {};
      }
      if (!taken.status.ok()) return taken.status;
      if (!taken.entry) break;
      ++end.entries;
      end.bytes += static_cast<int64_t>(taken.entry->data.size());
      encode(*taken.entry, buffer_);
      if (buffer_.size() >= kPieceBytes && !send()) return refused();
      progress_.at(source_->done());
    }
    encode(end, buffer_);
    bool is_done = send() && ::fsync(stream_.get()) == 0;
    return is_done ? Status() : refused();
  }

  bool send() {
    std::string_view rest = buffer_;
    while (!rest.empty()) {
      ssize_t size = ::write(stream_.get(), rest.data(), std::min(rest.size(), kPieceBytes));
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return false;
      rest.remove_prefix(static_cast<size_t>(size));
    }
    buffer_.clear();
    return true;
  }

  // The node says of which file and why.
  Status refused() {
    std::string why = error_of(stream_name_);
    std::istringstream lines(read_all(stream_.get()).value_or(""));
    constexpr std::string_view kError = "error ";
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(kError)) why = join(options_.directory, line.substr(kError.size()));
    }
    return Status::failed(why);
  }

  int tell(const Status& status) {
    std::istringstream lines(read_all(stream_.get()).value_or(""));
    std::map<std::string, uint64_t> counted;
    constexpr int kCounts = 9;  // and then, of a dry run, the paths
    std::string line;
    for (int i = 0; i < kCounts && std::getline(lines, line); ++i) {
      size_t space = line.find(' ');
      if (space == std::string::npos || line.starts_with("state")) continue;
      counted[line.substr(0, space)] = std::strtoull(line.c_str() + space, nullptr, 10);
    }
    if (options_.dry_run && status.ok()) {
      while (std::getline(lines, line)) fmt::print("{}\n", line);
    }
    fmt::print(stderr, "{} {} entries, {} bytes: {} new, {} changed, {} the same already",
               options_.dry_run ? "compared" : "imported", counted["entries"], counted["bytes"],
               counted["made"], counted["changed"], counted["same"]);
    if (options_.removes_others) fmt::print(stderr, ", {} removed", counted["removed"]);
    if (counted["skipped"] > 0) {
      fmt::print(stderr, ", {} of /zookeeper left as they are", counted["skipped"]);
    }
    if (!options_.dry_run) fmt::print(stderr, "; {} commits", counted["commits"]);
    fmt::print(stderr, "\n");
    return status.ok() ? 0 : fail(status.why());
  }

  const ImportTreeOptions& options_;
  const std::string stream_name_;
  Descriptor input_, stream_;
  std::unique_ptr<Source> own_source_;
  Source* source_;
  std::string buffer_;
  fsd::Progress progress_;
  std::optional<int> signal_;
};

}  // namespace

int export_tree(const std::string& directory, const std::string& target) {
  read_names_as_utf8();
  catch_signals();
  return Export(directory, target).run();
}

int import_tree(const ImportTreeOptions& options, Source* source) {
  if (!is_in_mount(options.directory)) {
    return fail(fmt::format("{} is no directory of a zabfs mount", options.directory), kUsage);
  }
  read_names_as_utf8();
  catch_signals();
  return Import(options, source).run();
}

}  // namespace zabfs::tool
