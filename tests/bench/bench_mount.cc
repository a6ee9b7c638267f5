// Operations on a directory, of a mount or of any filesystem to compare with.
//
//   bench_mount DIR THREADS SECONDS OP...     OP: write append stat missing uncached read pread
//   list; `uncached` asks for a name never asked for before: one request to the daemon
//
// One line an operation: rate, p50 and p99.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

void check(bool ok, const std::string& what) {
  if (ok) return;
  std::perror(what.c_str());
  std::exit(1);
}

void write_file(const std::string& path, int flags) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | flags, 0644);
  check(fd >= 0, path);
  check(::write(fd, "0123456789\n", 11) == 11, path);
  check(::close(fd) == 0, path);
}

void read_file(const std::string& path) {
  char buffer[4'096];
  int fd = ::open(path.c_str(), O_RDONLY);
  check(fd >= 0, path);
  while (::read(fd, buffer, sizeof(buffer)) > 0) {
  }
  ::close(fd);
}

size_t list(const std::string& path) {
  DIR* directory = ::opendir(path.c_str());
  check(directory != nullptr, path);
  size_t entries = 0;
  while (::readdir(directory) != nullptr) ++entries;
  ::closedir(directory);
  return entries;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fmt::print(stderr, "usage: bench_mount DIR THREADS SECONDS OP...\n");
    return 2;
  }
  std::string directory = argv[1];
  int threads = std::atoi(argv[2]);
  double seconds = std::atof(argv[3]);
  for (int i = 4; i < argc; ++i) {
    std::string name = argv[i];
    std::atomic<bool> stop{false};
    std::vector<std::vector<double>> latencies(static_cast<size_t>(threads));
    std::vector<std::thread> running;
    for (int t = 0; t < threads; ++t) {
      running.emplace_back([&, t] {
        std::string file = directory + "/bench-" + std::to_string(t);
        write_file(file, O_TRUNC);
        int fd = ::open(file.c_str(), O_RDONLY);
        struct stat st;
        char byte;
        uint64_t mine_count = 0;
        std::map<std::string, std::function<void()>> operations = {
            {"write", [&] { write_file(file, O_TRUNC); }},
            {"append", [&] { write_file(file, O_APPEND); }},
            {"stat", [&] { check(::stat(file.c_str(), &st) == 0, file); }},
            {"missing", [&] { check(::stat((file + "-none").c_str(), &st) != 0, file); }},
            {"uncached",
             [&] {
               std::string name_never_seen = file + "-none-" + std::to_string(mine_count++);
               check(::stat(name_never_seen.c_str(), &st) != 0, name_never_seen);
             }},
            {"read", [&] { read_file(file); }},
            {"pread", [&] { check(::pread(fd, &byte, 1, 0) == 1, file); }},
            {"list", [&] { list(directory); }}};
        auto operation = operations.find(name);
        check(operation != operations.end(), name);
        std::vector<double>& mine = latencies[static_cast<size_t>(t)];
        while (!stop) {
          auto start = Clock::now();
          operation->second();
          mine.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
        }
        ::close(fd);
      });
    }
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    stop = true;
    for (std::thread& thread : running) thread.join();
    std::vector<double> all;
    for (const auto& part : latencies) all.insert(all.end(), part.begin(), part.end());
    std::sort(all.begin(), all.end());
    fmt::print("{:<8} x{:<3} {:>9.0f}/s  p50 {:>7.1f} us  p99 {:>7.1f} us\n", name, threads,
               static_cast<double>(all.size()) / seconds, all[all.size() / 2],
               all[all.size() * 99 / 100]);
  }
  return 0;
}
