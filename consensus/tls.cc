#include "consensus/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pkcs12.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <climits>
#include <fstream>
#include <utility>

namespace zabfs::consensus {

namespace {

constexpr auto kLookInterval = std::chrono::seconds(1);  // at the files, for changes
constexpr size_t kPieceBytes = 16u << 10;                // a TLS record's

std::string last_error() {
  std::array<char, 256> text{};
  unsigned long code = ERR_get_error();
  ERR_clear_error();
  if (code == 0) return "no more is known";
  ERR_error_string_n(code, text.data(), text.size());
  return text.data();
}

int give_password(char* buffer, int size, int, void* password) {
  const auto& text = *static_cast<const std::string*>(password);
  int length = std::min(size, static_cast<int>(text.size()));
  std::copy_n(text.data(), length, buffer);
  return length;
}

// A version of TLS for which no cipher suite is listed is not spoken.
Status choose_ciphers(SSL_CTX* context, const TlsConfig& config) {
  const TlsCiphers& ciphers = config.ciphers;
  bool is_default = ciphers.of_1_2.empty() && ciphers.of_1_3.empty();
  bool is_1_2 = config.is_1_2 && (is_default || !ciphers.of_1_2.empty());
  bool is_1_3 = config.is_1_3 && (is_default || !ciphers.of_1_3.empty());
  if (!is_1_2 && !is_1_3) {
    return Status::failed("TLS: no cipher suite is listed for a version that is enabled");
  }
  SSL_CTX_set_min_proto_version(context, is_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION);
  SSL_CTX_set_max_proto_version(context, is_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);
  bool taken =
      (ciphers.of_1_2.empty() || SSL_CTX_set_cipher_list(context, ciphers.of_1_2.c_str()) == 1) &&
      (ciphers.of_1_3.empty() || SSL_CTX_set_ciphersuites(context, ciphers.of_1_3.c_str()) == 1);
  if (taken) return {};
  return Status::failed(fmt::format("TLS: the cipher suites can't be used: {}", last_error()));
}

// ---- the files

enum class StoreKind { kPem, kPkcs12, kJks };

// A file that is not there is one of PEM, whose reader then says so.
StoreKind kind_of(const std::string& file) {
  std::array<unsigned char, 4> head{};
  std::ifstream(file, std::ios::binary).read(reinterpret_cast<char*>(head.data()), head.size());
  constexpr std::array<unsigned char, 4> kJks{0xFE, 0xED, 0xFE, 0xED},
      kJceks{0xCE, 0xCE, 0xCE, 0xCE};
  if (head == kJks || head == kJceks) return StoreKind::kJks;
  constexpr unsigned char kDerSequence = 0x30;
  return head[0] == kDerSequence && head[1] >= 0x80 ? StoreKind::kPkcs12 : StoreKind::kPem;
}

Status refuse_jks(const std::string& file) {
  return Status::failed(fmt::format(
      "{} is a JKS store, which only Java reads: keytool -importkeystore -srckeystore {} "
      "-destkeystore {}.p12 -deststoretype PKCS12 makes one that is read here",
      file, file, file));
}

struct Pkcs12 {
  std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> key{nullptr, EVP_PKEY_free};
  std::unique_ptr<X509, void (*)(X509*)> certificate{nullptr, X509_free};
  std::vector<std::unique_ptr<X509, void (*)(X509*)>> others;
};

StatusOr<std::shared_ptr<Pkcs12>> read_pkcs12(const std::string& file,
                                              const std::string& password) {
  std::unique_ptr<BIO, int (*)(BIO*)> in(BIO_new_file(file.c_str(), "rb"), BIO_free);
  std::unique_ptr<PKCS12, void (*)(PKCS12*)> store(in ? d2i_PKCS12_bio(in.get(), nullptr) : nullptr,
                                                   PKCS12_free);
  if (!store) {
    return Status::failed(fmt::format("{} is no usable PKCS#12 file: {}", file, last_error()));
  }
  EVP_PKEY* key = nullptr;
  X509* certificate = nullptr;
  STACK_OF(X509)* others = nullptr;
  if (PKCS12_parse(store.get(), password.c_str(), &key, &certificate, &others) != 1) {
    return Status::failed(fmt::format(
        "{} can't be opened with the password that is given: {}; if that is right, the file has "
        "old ciphers, and openssl pkcs12 -legacy -in {} -nodes -out {}.pem makes one that is read",
        file, last_error(), file, file));
  }
  auto read = std::make_shared<Pkcs12>();
  read->key.reset(key);
  read->certificate.reset(certificate);
  while (sk_X509_num(others) > 0) read->others.emplace_back(sk_X509_shift(others), X509_free);
  sk_X509_free(others);
  return read;
}

Status load_keys_of_pkcs12(SSL_CTX* context, const std::string& file, const std::string& password) {
  auto read = read_pkcs12(file, password);
  if (!read.ok()) return read.status();
  Pkcs12& store = **read;
  bool loaded = store.key && store.certificate &&
                SSL_CTX_use_certificate(context, store.certificate.get()) == 1 &&
                SSL_CTX_use_PrivateKey(context, store.key.get()) == 1 &&
                SSL_CTX_check_private_key(context) == 1;
  for (const auto& other : store.others) {
    loaded = loaded && SSL_CTX_add1_chain_cert(context, other.get()) == 1;
  }
  if (loaded) return {};
  return Status::failed(
      fmt::format("{} holds no private key with its certificate: {}", file, last_error()));
}

Status load_keys(SSL_CTX* context, const std::string& file, const std::string& password) {
  StoreKind kind = kind_of(file);
  if (kind == StoreKind::kJks) return refuse_jks(file);
  if (kind == StoreKind::kPkcs12) return load_keys_of_pkcs12(context, file, password);
  const char* name = file.c_str();
  if (SSL_CTX_use_certificate_chain_file(context, name) != 1) {
    return Status::failed(
        fmt::format("{} holds no usable certificate (PEM): {}", file, last_error()));
  }
  if (SSL_CTX_use_PrivateKey_file(context, name, SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_check_private_key(context) != 1) {
    return Status::failed(
        fmt::format("{} holds no private key (PEM) of its certificate: {}", file, last_error()));
  }
  return {};
}

Status load_trusted(SSL_CTX* context, const std::string& file, const std::string& password) {
  StoreKind kind = kind_of(file);
  if (kind == StoreKind::kJks) return refuse_jks(file);
  if (kind == StoreKind::kPem) {
    if (SSL_CTX_load_verify_locations(context, file.c_str(), nullptr) == 1) return {};
    return Status::failed(fmt::format("{} holds no certificates (PEM): {}", file, last_error()));
  }
  auto read = read_pkcs12(file, password);
  if (!read.ok()) return read.status();
  Pkcs12& store = **read;
  if (store.certificate) store.others.push_back(std::move(store.certificate));
  for (const auto& trusted : store.others) {
    if (X509_STORE_add_cert(SSL_CTX_get_cert_store(context), trusted.get()) != 1) {
      return Status::failed(
          fmt::format("{} holds a certificate that can't be used: {}", file, last_error()));
    }
  }
  if (!store.others.empty()) return {};
  return Status::failed(fmt::format("{} holds no certificates", file));
}

}  // namespace

StatusOr<TlsCiphers> find_ciphers(const std::vector<std::string>& names) {
  TlsCiphers ciphers;
  for (const std::string& name : names) {
    std::string known = OPENSSL_cipher_name(name.c_str());
    if (known == "(NONE)") {
      return Status::failed(fmt::format("the cipher suite {} is not known", name));
    }
    // Of TLS 1.3 both names are the same.
    std::string& list = known == name ? ciphers.of_1_3 : ciphers.of_1_2;
    list += (list.empty() ? "" : ":") + known;
  }
  return ciphers;
}

Status TlsContext::load() {
  StatusOr<std::shared_ptr<SSL_CTX>> made = make();
  if (!made.ok()) return made.status();
  MutexLock lock(mutex_);
  context_ = std::move(*made);
  stamp_ = stamp();
  return {};
}

std::shared_ptr<SSL_CTX> TlsContext::current() {
  std::shared_ptr<SSL_CTX> context;
  std::string line;
  {
    MutexLock lock(mutex_);
    line = look_again();
    context = context_;
  }
  if (!line.empty()) log_(line);
  return context;
}

std::string TlsContext::look_again() {
  auto now = std::chrono::steady_clock::now();
  if (now - looked_ < kLookInterval) return {};
  looked_ = now;
  std::string seen = stamp();
  if (seen == stamp_) return {};
  stamp_ = std::move(seen);
  StatusOr<std::shared_ptr<SSL_CTX>> made = make();
  if (!made.ok()) return fmt::format("TLS: {}; goes on with what was there before", made.why());
  context_ = std::move(*made);
  return fmt::format("TLS: read {} and {} again", config_.key_store, config_.trust_store);
}

std::string TlsContext::stamp() const {
  std::string text;
  for (const std::string* file : {&config_.key_store, &config_.trust_store}) {
    struct stat st = {};
    ::stat(file->c_str(), &st);
    text +=
        fmt::format("{}.{}.{}.{} ", st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ino, st.st_size);
  }
  return text;
}

StatusOr<std::shared_ptr<SSL_CTX>> TlsContext::make() const {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_method()), SSL_CTX_free);
  SSL_CTX_set_mode(context.get(), SSL_MODE_RELEASE_BUFFERS);
  // Each connection shows its certificate anew. A client that asks to resume an earlier session, as
  // Java's do, is given a new one.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(context.get(), 0);
  SSL_CTX_set_default_passwd_cb(context.get(), give_password);
  SSL_CTX_set_default_passwd_cb_userdata(context.get(),
                                         const_cast<std::string*>(&config_.password));
  Status status = choose_ciphers(context.get(), config_);
  if (!status.ok()) return status;
  status = load_keys(context.get(), config_.key_store, config_.password);
  if (status.ok() && !config_.trust_store.empty()) {
    status = load_trusted(context.get(), config_.trust_store, config_.trust_password);
  }
  if (!status.ok()) return status;
  return context;
}

TlsSession::TlsSession(TlsContext& context, const std::string* host)
    : context_(context.current()),
      ssl_(SSL_new(context_.get()), SSL_free),
      in_(BIO_new(BIO_s_mem())),
      out_(BIO_new(BIO_s_mem())) {
  SSL_set_bio(ssl_.get(), in_, out_);
  if (host == nullptr) {
    using ClientAuth = TlsConfig::ClientAuth;
    int mode = SSL_VERIFY_NONE;
    if (context.config().client_auth != ClientAuth::kNone) mode = SSL_VERIFY_PEER;
    if (context.config().client_auth == ClientAuth::kNeed) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_set_verify(ssl_.get(), mode, nullptr);
    SSL_set_accept_state(ssl_.get());
    return;
  }
  SSL_set_verify(ssl_.get(), SSL_VERIFY_PEER, nullptr);
  if (context.config().verify_host) {
    X509_VERIFY_PARAM* wanted = SSL_get0_param(ssl_.get());
    if (X509_VERIFY_PARAM_set1_ip_asc(wanted, host->c_str()) != 1) {
      X509_VERIFY_PARAM_set1_host(wanted, host->c_str(), 0);
      SSL_ctrl(ssl_.get(), SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name,
               const_cast<char*>(host->c_str()));
    }
  }
  SSL_set_connect_state(ssl_.get());
  SSL_do_handshake(ssl_.get());
  ERR_clear_error();
}

TlsSession::~TlsSession() = default;

bool TlsSession::fail() {
  long verified = SSL_get_verify_result(ssl_.get());
  why_ = verified == X509_V_OK
             ? last_error()
             : fmt::format("the peer's certificate: {}", X509_verify_cert_error_string(verified));
  ERR_clear_error();
  return false;
}

bool TlsSession::receive(std::string_view bytes, std::string& plain) {
  BIO_write(in_, bytes.data(), static_cast<int>(std::min<size_t>(bytes.size(), INT_MAX)));
  std::array<char, kPieceBytes> piece;
  while (true) {
    int n = SSL_read(ssl_.get(), piece.data(), static_cast<int>(piece.size()));
    if (n > 0) {
      plain.append(piece.data(), static_cast<size_t>(n));
      continue;
    }
    int error = SSL_get_error(ssl_.get(), n);
    if (error == SSL_ERROR_ZERO_RETURN) return fail();  // the peer says that it is done
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return fail();
    break;
  }
  flush();
  return true;
}

void TlsSession::say(std::string_view plain) {
  waiting_ += plain;
  flush();
}

void TlsSession::flush() {
  if (waiting_.empty() || !is_established()) return;
  size_t done = 0;
  while (done < waiting_.size()) {
    int size = static_cast<int>(std::min<size_t>(waiting_.size() - done, INT_MAX));
    int n = SSL_write(ssl_.get(), waiting_.data() + done, size);
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  waiting_.erase(0, done);
}

void TlsSession::take_outgoing(std::string& bytes) {
  char* data = nullptr;
  long size = BIO_ctrl(out_, BIO_CTRL_INFO, 0, &data);
  if (size <= 0) return;
  bytes.append(data, static_cast<size_t>(size));
  BIO_ctrl(out_, BIO_CTRL_RESET, 0, nullptr);
}

bool TlsSession::is_established() const { return SSL_is_init_finished(ssl_.get()) == 1; }

std::optional<std::string> TlsSession::peer_subject() const {
  std::unique_ptr<X509, void (*)(X509*)> certificate(SSL_get1_peer_certificate(ssl_.get()),
                                                     X509_free);
  if (!certificate) return std::nullopt;
  std::unique_ptr<BIO, void (*)(BIO*)> text(BIO_new(BIO_s_mem()), BIO_free_all);
  X509_NAME_print_ex(text.get(), X509_get_subject_name(certificate.get()), 0,
                     XN_FLAG_RFC2253 & ~static_cast<unsigned long>(ASN1_STRFLGS_ESC_MSB));
  char* data = nullptr;
  long size = BIO_ctrl(text.get(), BIO_CTRL_INFO, 0, &data);
  return std::string(data, static_cast<size_t>(std::max(size, 0L)));
}

}  // namespace zabfs::consensus
