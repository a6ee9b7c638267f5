// Commands that zabfs runs for its user, and the signals that are meant for them.
//
// Between zabfs and a command stands a keeper, a process of zabfs's own:
//
//     zabfs --- keeper --- CMD --- what CMD starts
//
// The keeper is a subreaper: what CMD starts stays below it, also what left CMD's process group or
// session. So the keeper can end all of it. It does so when zabfs itself was killed, for CMD is not
// to go on without what zabfs holds for it. Should the keeper be killed, zabfs does the same.
//
// All of them are in the process group that zabfs was started in, as with flock(1) and nice(1). So
// a terminal sees the same job with and without zabfs: Ctrl-C, Ctrl-Z, `fg` and `bg` mean all of
// it, and a pager at the other end of a pipe still has the keyboard. A group of CMD's own would
// have to be lent the terminal, and the rest of the job would lose it.
//
// Signals that would end zabfs go on to CMD instead: HUP, INT, QUIT and TERM to its process group
// as far as that is below the keeper, others to CMD alone. What the terminal sent has reached CMD
// already. Signals that zabfs was started with as ignored (`nohup`) stay ignored, by CMD too.
#pragma once

#include <signal.h>
#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

namespace zabfs::tool {

// Signals that would end zabfs are noted from here on, but for those that are ignored.
void catch_signals();
// Gives one of them and forgets it; `number` is 0 if there is none.
struct Caught {
  int number = 0;
  bool from_terminal = false;
};
Caught caught();
int caught_fd();  // readable when there is one; -1 if none is noted

class Command {
 public:
  struct Options {
    std::vector<std::string> environment;  // NAME=VALUE
    std::vector<int> inherited;            // descriptors that CMD and all below it have, too
    int death_signal = SIGTERM;            // what ends it when zabfs was killed
    // Asked by the keeper, in its process, every few milliseconds: a signal to send to all of it,
    // or 0. After SIGKILL nothing is left.
    std::function<int()> verdict;
    // When CMD has ended, the keeper goes on asking as long as something that CMD started has what
    // is `inherited`. It knows by a pipe that they inherit, too.
    bool stays = false;
  };

  Command(const std::vector<std::string>& words, const Options& options);
  ~Command();
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // Waits until it has ended, a signal was caught or that time is over (-1: never).
  bool has_ended(int timeout_ms);
  void pass_on(Caught signal);
  void end(int signal);  // all of it; with SIGKILL nothing is left

  // Of one that has ended: its exit code, or 128 and the signal that ended it.
  int code() const;
  bool is_stopped() const { return report_.is_stopped; }  // by a verdict
  bool left_some() const { return report_.left_some; }    // the keeper stays
  // Exits as the command did. If Ctrl-C ended it, zabfs ends by that, too: a shell script that runs
  // zabfs goes on otherwise.
  int exit_like_it() const;

 private:
  class Keeper;
  struct Report {
    int status = 0;  // as of waitpid
    bool is_stopped = false, left_some = false;
  };
  void tell(int signal, char how);

  pid_t keeper_ = 0;
  int socket_ = -1;
  bool stays_;
  bool has_report_ = false, saw_interrupt_ = false;
  Report report_;
};

// Runs it and waits; signals go on to it, and are still `caught` afterwards.
int run_command(const std::vector<std::string>& words,
                const std::vector<std::string>& environment = {});

}  // namespace zabfs::tool
