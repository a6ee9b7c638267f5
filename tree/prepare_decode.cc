#include "tree/prepare_decode.h"

namespace zabfs::tree {

WantedAcl read_wanted_acl(jute::Reader& in, const std::set<std::string>& schemes) {
  WantedAcl wanted;
  int32_t count = in.i32();  // negative is none, for Java
  for (int32_t i = 0; i < count && in.ok(); ++i) {
    Acl entry;
    entry.perms = in.i32();
    entry.who.scheme = in.string();
    std::optional<std::string_view> id = in.buffer();
    entry.who.id = id.value_or(std::string_view());
    const std::string& scheme = entry.who.scheme;
    bool needs_id =
        scheme == "world" || scheme == "ip" || scheme == "digest" || schemes.contains(scheme);
    if (!id && needs_id) wanted.is_whole = false;
    if (wanted.is_whole) wanted.entries.push_back(std::move(entry));
  }
  return wanted;
}

Result<AclList> fix_wanted_acl(const WantedAcl& wanted, const Identities& identities,
                               const std::set<std::string>& schemes) {
  if (!wanted.is_whole && wanted.entries.empty()) return Error::kMarshallingError;
  Result<AclList> fixed = fix_acl(wanted.entries, identities, schemes);
  return fixed.ok() && !wanted.is_whole ? Error::kMarshallingError : fixed;
}

std::optional<OpCode> take_multi_op(OpCode type, jute::Reader& in) {
  bool creates = is_create(type);
  bool is_known =
      creates || type == OpCode::kDelete || type == OpCode::kSetData || type == OpCode::kCheck;
  bool has_path = in.buffer().has_value();
  if (creates || type == OpCode::kSetData) in.buffer();
  for (int32_t entries = creates ? in.i32() : 0; entries > 0 && in.ok(); --entries) {
    in.i32();
    in.buffer();
    in.buffer();
  }
  int32_t flags = in.i32();  // of the others, the version
  if (type == OpCode::kCreateTtl) in.i64();
  if (!is_known || !has_path || !in.ok()) return std::nullopt;
  if (!creates) return type;
  if (has_ttl_flag(flags)) return type == OpCode::kCreateTtl ? type : OpCode::kError;
  return flags == kCreateContainerFlag ? OpCode::kCreateContainer : OpCode::kCreate;
}

}  // namespace zabfs::tree
