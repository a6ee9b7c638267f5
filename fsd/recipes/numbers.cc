// `@/next` and `@/counter`: numbers of a directory, kept in its hidden child `@`.
#include <fmt/format.h>

#include <charconv>
#include <utility>

#include "fsd/recipes/handles.h"
#include "tree/path.h"

namespace zabfs::fsd {

using tree::Error;
using tree::OpCode;
using tree::Outcome;

namespace {

constexpr const char* kNextChild = "next";
constexpr const char* kCounterChild = "counter";

// The next number is the version that a write without conditions gave the hidden znode: unique and
// rising. A new one starts at 1.
class NextHandle : public Handle {
 public:
  using Handle::Handle;

 protected:
  void take(size_t, Answer answer) override {
    room_.writer().when_writable(
        [self = shared_from_this(), this, answer] { increment(answer, true); },
        [answer](FileError error) { answer(error, {}); });
  }

 private:
  void increment(const Answer& answer, bool may_create) {
    std::string path = hidden_path(directory(), kNextChild);
    room_.writer().commit(
        OpCode::kSetData, tree::set_data_body(path, "", tree::kAnyVersion),
        [self = shared_from_this(), this, answer, may_create](const Outcome& outcome) {
          if (outcome.error == Error::kNoNode && may_create) {
            return room_.create_hidden(
                directory(), kNextChild, "", [self, this, answer](const Outcome& created) {
                  if (created.error != Error::kOk && created.error != Error::kNodeExists) {
                    return answer(file_error_of(created.error), {});
                  }
                  increment(answer, false);
                });
          }
          if (outcome.error != Error::kOk) return answer(file_error_of(outcome.error), {});
          answer(FileError::kOk, fmt::format("{}\n", outcome.stat.version));
        });
  }
};

struct CounterChange {
  char sign;  // + - =
  int64_t number;
};

std::optional<CounterChange> parse_change(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.size() < 2 || std::string_view("+-=").find(text[0]) == std::string_view::npos) {
    return std::nullopt;
  }
  char sign = text[0];
  text.remove_prefix(1);
  bool may_be_negative = sign == '=';
  if (!may_be_negative && text[0] == '-') return std::nullopt;
  int64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return CounterChange{sign, number};
}

// nullopt: it does not fit 64 bits.
std::optional<int64_t> changed(int64_t value, CounterChange change) {
  int64_t result = change.number;
  bool overflow = false;
  if (change.sign == '+') overflow = __builtin_add_overflow(value, change.number, &result);
  if (change.sign == '-') overflow = __builtin_sub_overflow(value, change.number, &result);
  if (overflow) return std::nullopt;
  return result;
}

int64_t counter_value(const tree::ZNode* node) {
  if (node == nullptr) return 0;
  std::string_view text = node->data.view();
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// One write is one change, committed before it is answered.
class CounterHandle : public Handle {
 public:
  CounterHandle(Room& room, const std::string& directory, Opener opener)
      : Handle(room, Control::kCounter, directory, std::move(opener)),
        path_(hidden_path(directory, kCounterChild)) {}

  void write(std::string_view bytes, off_t, bool, Done done) override {
    std::optional<CounterChange> change = parse_change(bytes);
    if (!change) return done(FileError::kInvalid);
    auto self = shared_from_this();
    room_.writer().when_writable(
        [self, this, change = *change, done] {
          room_.take_turn(path_, [self, this, change, done] {
            attempt(change, [self, this, done](FileError error) {
              done(error);
              room_.end_turn(path_);
            });
          });
        },
        done);
  }

 protected:
  void take(size_t, Answer answer) override {
    answer(FileError::kOk, fmt::format("{}\n", counter_value(room_.tree().find(path_))));
  }

 private:
  // Compare-and-set; again if another node was faster.
  void attempt(CounterChange change, Done done) {
    const tree::ZNode* node = room_.tree().find(path_);
    std::optional<int64_t> value = changed(counter_value(node), change);
    if (!value) return done(FileError::kOutOfRange);
    std::string text = std::to_string(*value);
    auto self = shared_from_this();
    auto answered = [self, this, change, done](const Outcome& outcome) {
      bool lost_race = outcome.error == Error::kStale || outcome.error == Error::kNodeExists ||
                       (outcome.error == Error::kNoNode && room_.tree().find(directory()));
      if (lost_race) return attempt(change, done);
      done(open_file_error_of(outcome.error));
    };
    if (node == nullptr) return room_.create_hidden(directory(), kCounterChild, text, answered);
    tree::ExtWrite write;
    write.path = path_;
    write.czxid = node->stat.czxid;
    write.version = node->stat.version;
    write.data = text;
    room_.writer().commit(OpCode::kExtWrite, encode(write), answered);
  }

  std::string path_;
};

}  // namespace

HandlePtr open_next(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<NextHandle>(room, Control::kNext, directory, std::move(opener));
}

HandlePtr open_counter(Room& room, const std::string& directory, Opener opener) {
  return std::make_shared<CounterHandle>(room, directory, std::move(opener));
}

}  // namespace zabfs::fsd
