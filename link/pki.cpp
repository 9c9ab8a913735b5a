// SPDX-License-Identifier: Apache-2.0
// EC P-256 keys and X.509 certificates with Mbed TLS. See pki.hpp.
#include "link/pki.hpp"

#include <fcntl.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "link/records.hpp"
#include "link/x509.hpp"

namespace amphion::link {
namespace {

constexpr std::int64_t day_seconds = 24 * 60 * 60;
constexpr std::size_t pem_bytes = 4096;

Error failed(const std::string& what, int code) {
  char text[128];
  mbedtls_strerror(code, text, sizeof(text));
  return {ErrorCode::io, what + ": " + text};
}

class Random {
 public:
  Random() {
    mbedtls_entropy_init(&entropy_);
    mbedtls_ctr_drbg_init(&generator_);
    failure_ = mbedtls_ctr_drbg_seed(&generator_, mbedtls_entropy_func, &entropy_, nullptr, 0);
  }
  Random(const Random&) = delete;
  Random& operator=(const Random&) = delete;
  ~Random() {
    mbedtls_ctr_drbg_free(&generator_);
    mbedtls_entropy_free(&entropy_);
  }
  [[nodiscard]] int failure() const { return failure_; }
  mbedtls_ctr_drbg_context* get() { return &generator_; }

 private:
  mbedtls_entropy_context entropy_;
  mbedtls_ctr_drbg_context generator_;
  int failure_ = 0;
};

struct Key {
  mbedtls_pk_context context;
  Key() { mbedtls_pk_init(&context); }
  Key(const Key&) = delete;
  Key& operator=(const Key&) = delete;
  ~Key() { mbedtls_pk_free(&context); }

  Status generate(Random& random) {
    int failure = mbedtls_pk_setup(&context, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));
    if (failure == 0) {
      failure =
          mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(context), mbedtls_ctr_drbg_random, random.get());
    }
    return failure == 0 ? Status() : Status(failed("cannot make a key", failure));
  }
};

struct Certificate {
  mbedtls_x509_crt context;
  Certificate() { mbedtls_x509_crt_init(&context); }
  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  ~Certificate() { mbedtls_x509_crt_free(&context); }

  Status load(const std::string& certificate) {
    const int failure = is_pem(certificate)
                            ? mbedtls_x509_crt_parse(&context, bytes_of(certificate), certificate.size() + 1)
                            : mbedtls_x509_crt_parse_file(&context, certificate.c_str());
    if (failure == 0) return {};
    return failed("cannot read the certificate" + (is_pem(certificate) ? "" : " " + certificate), failure);
  }
};

// A P-256 key that somebody sent.
Status read_public_key(std::string_view der, Key& into) {
  const Error bad{ErrorCode::invalid, "that is no public key of the kind that is needed (EC P-256)"};
  if (der.empty() || der.size() > max_public_key_bytes) return bad;
  if (mbedtls_pk_parse_public_key(&into.context, bytes_of(der), der.size()) != 0) return bad;
  if (mbedtls_pk_get_type(&into.context) != MBEDTLS_PK_ECKEY) return bad;
  const mbedtls_ecp_keypair& pair = *mbedtls_pk_ec(into.context);
  const bool good = pair.grp.id == MBEDTLS_ECP_DP_SECP256R1 && mbedtls_ecp_check_pubkey(&pair.grp, &pair.Q) == 0;
  return good ? Status() : Status(bad);
}

// Makes the file; it must not be there.
Status write_new(const std::string& path, std::string_view contents, mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0 && errno == EEXIST) {
    return {ErrorCode::conflict, path + " is already there: remove it first if it should be made anew"};
  }
  if (fd < 0) return {ErrorCode::io, "cannot write " + path + ": " + std::strerror(errno)};
  const bool good =
      ::write(fd, contents.data(), contents.size()) == static_cast<ssize_t>(contents.size()) && ::fsync(fd) == 0;
  const int failure = errno;
  ::close(fd);
  if (good) return {};
  ::unlink(path.c_str());
  return {ErrorCode::io, "cannot write " + path + ": " + std::strerror(failure)};
}

struct Request {
  std::string subject;
  std::string issuer;
  Key* subject_key;
  Key* issuer_key;
  bool authority;
  std::int64_t from;
  std::int64_t to;
};

int fill(mbedtls_x509write_cert& writer, mbedtls_mpi& serial, const Request& request, Random& random) {
  mbedtls_x509write_crt_set_version(&writer, MBEDTLS_X509_CRT_VERSION_3);
  mbedtls_x509write_crt_set_md_alg(&writer, MBEDTLS_MD_SHA256);
  mbedtls_x509write_crt_set_subject_key(&writer, &request.subject_key->context);
  mbedtls_x509write_crt_set_issuer_key(&writer, &request.issuer_key->context);
  int failure = mbedtls_mpi_fill_random(&serial, 16, mbedtls_ctr_drbg_random, random.get());
  if (failure == 0) failure = mbedtls_mpi_set_bit(&serial, 127, 0);  // positive
  if (failure == 0) failure = mbedtls_x509write_crt_set_serial(&writer, &serial);
  if (failure == 0) failure = mbedtls_x509write_crt_set_subject_name(&writer, request.subject.c_str());
  if (failure == 0) failure = mbedtls_x509write_crt_set_issuer_name(&writer, request.issuer.c_str());
  if (failure == 0) {
    failure =
        mbedtls_x509write_crt_set_validity(&writer, asn1_text(request.from).c_str(), asn1_text(request.to).c_str());
  }
  if (failure == 0) {
    failure =
        mbedtls_x509write_crt_set_basic_constraints(&writer, request.authority ? 1 : 0, request.authority ? 0 : -1);
  }
  const unsigned usage =
      request.authority ? MBEDTLS_X509_KU_KEY_CERT_SIGN | MBEDTLS_X509_KU_CRL_SIGN : MBEDTLS_X509_KU_DIGITAL_SIGNATURE;
  if (failure == 0) failure = mbedtls_x509write_crt_set_key_usage(&writer, usage);
  return failure;
}

Result<std::string> certificate_pem(const Request& request, Random& random) {
  mbedtls_x509write_cert writer;
  mbedtls_mpi serial;
  mbedtls_x509write_crt_init(&writer);
  mbedtls_mpi_init(&serial);
  std::array<unsigned char, pem_bytes> pem;
  int failure = fill(writer, serial, request, random);
  if (failure == 0) {
    failure = mbedtls_x509write_crt_pem(&writer, pem.data(), pem.size(), mbedtls_ctr_drbg_random, random.get());
  }
  mbedtls_mpi_free(&serial);
  mbedtls_x509write_crt_free(&writer);
  if (failure != 0) return failed("cannot make a certificate", failure);
  return std::string(reinterpret_cast<const char*>(pem.data()));
}

Result<std::string> key_pem(Key& key) {
  std::array<unsigned char, pem_bytes> pem;
  const int failure = mbedtls_pk_write_key_pem(&key.context, pem.data(), pem.size());
  if (failure != 0) return failed("cannot write a key", failure);
  return std::string(reinterpret_cast<const char*>(pem.data()));
}

// The two files of one certificate: both or none.
Status write_pair(const std::string& stem, Key& key, const Request& request, Random& random) {
  const auto secret = key_pem(key);
  if (!secret) return secret.error();
  const auto certificate = certificate_pem(request, random);
  if (!certificate) return certificate.error();
  if (Status s = write_new(stem + ".key", *secret, 0600); !s.ok()) return s;
  const Status written = write_new(stem + ".crt", *certificate, 0644);
  if (!written.ok()) ::unlink((stem + ".key").c_str());
  return written;
}

Status ready(Random& random) {
  return random.failure() == 0 ? Status() : Status(failed("no random numbers", random.failure()));
}

// An authority that signs.
struct Issuer {
  Certificate certificate;
  Key key;
  std::string subject;

  Status load(const std::string& folder) {
    int failure = mbedtls_x509_crt_parse_file(&certificate.context, (folder + "/ca.crt").c_str());
    if (failure != 0) return failed("no authority in " + folder + " (ca.crt): run amphion-pki create first", failure);
    failure = mbedtls_pk_parse_keyfile(&key.context, (folder + "/ca.key").c_str(), nullptr);
    if (failure != 0) return failed("cannot read the authority's key " + folder + "/ca.key", failure);
    std::array<char, 512> text;
    if (mbedtls_x509_dn_gets(text.data(), text.size(), &certificate.context.subject) < 0) {
      return {ErrorCode::damaged, folder + "/ca.crt names no subject"};
    }
    subject = text.data();
    return {};
  }

  [[nodiscard]] Request request(const CertificateOptions& options, Key& for_key) {
    const std::int64_t now = options.at != 0 ? options.at : wall_clock_s();
    const std::int64_t to = options.expired ? now - day_seconds : now + options.days * day_seconds;
    const std::int64_t from = options.expired ? now - 30 * day_seconds : now - day_seconds;
    const std::string who = "O=Amphion,OU=" + std::string(text(options.role)) + ",CN=" + options.name;
    return {who, subject, &for_key, &key, false, from, to};
  }
};

Status check(const CertificateOptions& options) {
  if (!valid_instance_name(options.name)) {
    return {ErrorCode::invalid, "\"" + options.name + "\" is no name: 1 to 32 of a-z, 0-9 and -"};
  }
  if (options.days < 1 || options.days > 7300) return {ErrorCode::invalid, "a certificate is valid for 1 to 7300 days"};
  return {};
}

}  // namespace

Status create_authority(const std::string& folder, const std::string& name, std::int64_t at) {
  if (!valid_instance_name(name)) return {ErrorCode::invalid, "\"" + name + "\" is no name: 1 to 32 of a-z, 0-9 and -"};
  if (Status s = real_files().make_folder(folder); !s.ok()) return s;
  Random random;
  Key key;
  if (Status s = ready(random); !s.ok()) return s;
  if (Status s = key.generate(random); !s.ok()) return s;
  const std::string subject = "O=Amphion,OU=authority,CN=" + name;
  const std::int64_t now = at != 0 ? at : wall_clock_s();
  return write_pair(folder + "/ca", key,
                    {subject, subject, &key, &key, true, now - day_seconds, now + 7300 * day_seconds}, random);
}

Status issue_certificate(const std::string& folder, const CertificateOptions& options, std::string stem) {
  if (Status s = check(options); !s.ok()) return s;
  if (stem.empty()) stem = text(options.role);
  Random random;
  Issuer issuer;
  Key key;
  if (Status s = ready(random); !s.ok()) return s;
  if (Status s = issuer.load(folder); !s.ok()) return s;
  if (Status s = key.generate(random); !s.ok()) return s;
  return write_pair(folder + "/" + stem, key, issuer.request(options, key), random);
}

Result<KeyPair> make_key_pair() {
  Random random;
  Key key;
  if (Status s = ready(random); !s.ok()) return s.error();
  if (Status s = key.generate(random); !s.ok()) return s.error();
  auto secret = key_pem(key);
  if (!secret) return secret.error();
  std::array<unsigned char, max_public_key_bytes> der;
  const int length = mbedtls_pk_write_pubkey_der(&key.context, der.data(), der.size());  // at the buffer's end
  if (length <= 0) return failed("cannot write a public key", length);
  return KeyPair{std::move(*secret), std::string(der.end() - length, der.end())};
}

Result<Issued> issue_for_key(const std::string& folder, const CertificateOptions& options,
                             std::string_view public_key) {
  if (Status s = check(options); !s.ok()) return s.error();
  Random random;
  Issuer issuer;
  Key key;
  if (Status s = read_public_key(public_key, key); !s.ok()) return s.error();
  if (Status s = ready(random); !s.ok()) return s.error();
  if (Status s = issuer.load(folder); !s.ok()) return s.error();
  auto certificate = certificate_pem(issuer.request(options, key), random);
  if (!certificate) return certificate.error();
  auto authority = real_files().read(folder + "/ca.crt", pem_bytes);
  if (!authority) return authority.error();
  return Issued{std::move(*authority), std::move(*certificate)};
}

Result<CertificateFacts> certificate_facts(const std::string& certificate) {
  Certificate read;
  if (Status s = read.load(certificate); !s.ok()) return s.error();
  const mbedtls_x509_crt& one = read.context;
  CertificateFacts facts{common_name(one), unit_name(one), seconds_of(one.valid_from), seconds_of(one.valid_to),
                         fingerprint_of(one)};
  if (facts.name.empty()) return Error{ErrorCode::damaged, certificate + " is not a certificate with a name"};
  return facts;
}

Status check_identity(const Identity& identity) {
  Certificate authority;
  Certificate own;
  Key key;
  if (Status s = authority.load(identity.authority); !s.ok()) return s;
  if (Status s = own.load(identity.certificate); !s.ok()) return s;
  const int failure = is_pem(identity.key) ? mbedtls_pk_parse_key(&key.context, bytes_of(identity.key),
                                                                  identity.key.size() + 1, nullptr, 0)
                                           : mbedtls_pk_parse_keyfile(&key.context, identity.key.c_str(), nullptr);
  if (failure != 0) return failed("cannot read the key", failure);
  if (mbedtls_pk_check_pair(&own.context.pk, &key.context) != 0) {
    return {ErrorCode::invalid, "the key is not the certificate's"};
  }
  std::uint32_t flags = 0;
  const auto whenever = [](void*, mbedtls_x509_crt*, int, std::uint32_t* found) {
    *found &= ~static_cast<std::uint32_t>(MBEDTLS_X509_BADCERT_EXPIRED | MBEDTLS_X509_BADCERT_FUTURE);
    return 0;
  };
  if (mbedtls_x509_crt_verify(&own.context, &authority.context, nullptr, nullptr, &flags, whenever, nullptr) != 0) {
    return {ErrorCode::invalid, "the certificate was issued by another authority"};
  }
  return {};
}

}  // namespace amphion::link
