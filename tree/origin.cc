#include "tree/origin.h"

#include <algorithm>
#include <charconv>

#include "tree/jute.h"
#include "tree/request.h"

namespace zabfs::tree {
namespace {

constexpr int32_t kOriginMagic = 0x5A57484F;  // "ZWHO"
constexpr size_t kMagicBytes = 4;
constexpr std::string_view kLocalScheme = "mount";

// Fields of other kinds are skipped: a later zabfs may write them.
enum class Field : uint8_t { kNode = 1, kUid = 2, kProgram = 3, kAddress = 4, kUser = 5 };

// Appends fields until they are too many bytes. Those that don't fit are left out.
class FieldWriter {
 public:
  explicit FieldWriter(std::string& out) : out_(out), begin_(out.size()) {}

  void add(Field field, std::string_view first, std::string_view second = {}) {
    size_t size = first.size() + second.size();
    size_t before = is_begun() ? out_.size() - begin_ : kMagicBytes;
    if (size == 0 || size > max_bytes(field) || before + 2 + size > kMaxOriginBytes) return;
    if (!is_begun()) jute::Writer(out_).i32(kOriginMagic);
    out_ += static_cast<char>(field);
    out_ += static_cast<char>(size);
    out_ += first;
    out_ += second;
  }

  static size_t max_bytes(Field field) {
    switch (field) {
      case Field::kNode:
        return 1;
      case Field::kUid:
        return 4;
      case Field::kProgram:
        return kMaxProgramBytes;
      case Field::kAddress:
        return kMaxAddressBytes;
      case Field::kUser:
        return kMaxOriginUserBytes;
    }
    return 0;
  }

 private:
  bool is_begun() const { return out_.size() > begin_; }

  std::string& out_;
  const size_t begin_;
};

void add_uid(uint32_t uid, FieldWriter& out) {
  char bytes[4];
  for (size_t i = 0; i < sizeof(bytes); ++i) bytes[i] = static_cast<char>(uid >> (24 - 8 * i));
  out.add(Field::kUid, {bytes, sizeof(bytes)});
}

std::optional<uint32_t> number_in(std::string_view text) {
  uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool is_one = error == std::errc() && end == text.data() + text.size();
  return is_one ? std::optional(number) : std::nullopt;
}

// What a client has proven to be. No secret: of a digest's `user:hash` only the user.
void add_client(const Identities& identities, bool has_uid, FieldWriter& out) {
  bool has_address = false;
  for (const Id& id : identities) {
    if (id.scheme == "ip" && !std::exchange(has_address, true)) out.add(Field::kAddress, id.id);
    if (id.scheme != kUidScheme) continue;
    std::optional<uint32_t> uid = number_in(id.id);
    if (uid && !std::exchange(has_uid, true)) add_uid(*uid, out);
  }
  size_t users = 0;
  for (const Id& id : identities) {
    const char* prefix = id.scheme == "digest" ? "digest:"
                         : id.scheme == "sasl" ? "sasl:"
                         : id.scheme == "x509" ? "x509:"
                                               : nullptr;
    if (prefix == nullptr) continue;
    std::string_view name = id.id;
    if (id.scheme == "digest") name = name.substr(0, name.find(':'));
    if (!name.empty() && users++ < kMaxOriginUsers) out.add(Field::kUser, prefix, name);
  }
}

// One word that can be shown, whatever a client called itself.
std::string word(std::string_view text) {
  std::string shown(text);
  for (char& c : shown) {
    if (c == ',') c = ';';
    if (c <= ' ' || c > '~') c = '_';
  }
  return shown;
}

}  // namespace

void write_origin(const Request& request, std::string& bytes) {
  size_t begin = bytes.size();
  FieldWriter out(bytes);
  if (request.user.uid) add_uid(*request.user.uid, out);
  out.add(Field::kProgram, request.user.program);
  add_client(request.identities, request.user.uid.has_value(), out);
  bool says_more =
      bytes.size() > begin && request.node != 0 && request.node != maker_of(request.session);
  char node = static_cast<char>(request.node);
  if (says_more) out.add(Field::kNode, {&node, 1});
}

Origin read_origin(std::string_view bytes) {
  Origin origin;
  jute::Reader in(bytes);
  if (bytes.size() > kMaxOriginBytes || in.i32() != kOriginMagic || !in.ok()) return origin;
  std::string_view rest = in.rest();
  while (rest.size() >= 2) {
    auto field = static_cast<Field>(rest[0]);
    size_t size = static_cast<uint8_t>(rest[1]);
    if (rest.size() < 2 + size) return {};
    std::string_view value = rest.substr(2, size);
    rest.remove_prefix(2 + size);
    if (size == 0 || size > FieldWriter::max_bytes(field)) continue;
    switch (field) {
      case Field::kNode:
        origin.node = static_cast<uint8_t>(value[0]);
        break;
      case Field::kUid:
        if (size == 4) origin.uid = static_cast<uint32_t>(jute::Reader(value).i32());
        break;
      case Field::kProgram:
        origin.program = word(value);
        break;
      case Field::kAddress:
        origin.address = word(value);
        break;
      case Field::kUser:
        if (origin.users.size() < kMaxOriginUsers) origin.users.push_back(word(value));
        break;
    }
  }
  return origin;
}

Id identity_of(const LocalUser& user) {
  return {std::string(kLocalScheme),
          (user.uid ? std::to_string(*user.uid) : "") + " " + user.program};
}

LocalUser take_local_user(Identities& identities) {
  LocalUser user;
  bool found = false;
  std::erase_if(identities, [&](const Id& id) {
    if (id.scheme != kLocalScheme) return false;
    if (std::exchange(found, true)) return true;
    std::string_view text = id.id;
    size_t space = std::min(text.find(' '), text.size());
    user.uid = number_in(text.substr(0, space));
    text.remove_prefix(std::min(space + 1, text.size()));
    if (text.size() <= kMaxProgramBytes) user.program = text;
    return true;
  });
  return user;
}

}  // namespace zabfs::tree
