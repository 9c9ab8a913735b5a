// SPDX-License-Identifier: Apache-2.0
// EC P-256 keys and X.509 certificates with Mbed TLS. See pki.hpp.
#include "link/pki.hpp"

#include <fcntl.h>
#include <mbedtls/ctr_drbg.h>
#include <mbedtls/ecp.h>
#include <mbedtls/entropy.h>
#include <mbedtls/error.h>
#include <mbedtls/pk.h>
#include <mbedtls/x509_crt.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "link/records.hpp"

namespace amphion::link {
namespace {

constexpr std::time_t day_seconds = 24 * 60 * 60;
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
};

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

std::string asn1_time(std::time_t time) {
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 16> text;
  (void)std::strftime(text.data(), text.size(), "%Y%m%d%H%M%S", &parts);
  return text.data();
}

struct Request {
  std::string subject;
  std::string issuer;
  Key* subject_key;
  Key* issuer_key;
  bool authority;
  std::time_t from;
  std::time_t to;
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
        mbedtls_x509write_crt_set_validity(&writer, asn1_time(request.from).c_str(), asn1_time(request.to).c_str());
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

Status write_certificate(const std::string& path, const Request& request, Random& random) {
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
  if (failure != 0) return failed("cannot make certificate " + path, failure);
  return write_new(path, reinterpret_cast<const char*>(pem.data()), 0644);
}

Status write_key(const std::string& path, Key& key) {
  std::array<unsigned char, pem_bytes> pem;
  const int failure = mbedtls_pk_write_key_pem(&key.context, pem.data(), pem.size());
  if (failure != 0) return failed("cannot write key " + path, failure);
  return write_new(path, reinterpret_cast<const char*>(pem.data()), 0600);
}

// The two files of one certificate: both or none.
Status write_pair(const std::string& stem, Key& key, const Request& request, Random& random) {
  if (Status s = write_key(stem + ".key", key); !s.ok()) return s;
  const Status written = write_certificate(stem + ".crt", request, random);
  if (!written.ok()) ::unlink((stem + ".key").c_str());
  return written;
}

Status ready(Random& random) {
  return random.failure() == 0 ? Status() : Status(failed("no random numbers", random.failure()));
}

}  // namespace

Status create_authority(const std::string& folder, const std::string& name) {
  if (!valid_instance_name(name)) return {ErrorCode::invalid, "\"" + name + "\" is no name: 1 to 32 of a-z, 0-9 and -"};
  if (Status s = real_files().make_folder(folder); !s.ok()) return s;
  Random random;
  Key key;
  if (Status s = ready(random); !s.ok()) return s;
  if (Status s = key.generate(random); !s.ok()) return s;
  const std::string subject = "O=Amphion,OU=authority,CN=" + name;
  const std::time_t now = std::time(nullptr);
  return write_pair(folder + "/ca", key,
                    {subject, subject, &key, &key, true, now - day_seconds, now + 7300 * day_seconds}, random);
}

Status issue_certificate(const std::string& folder, const CertificateOptions& options, std::string stem) {
  if (!valid_instance_name(options.name)) {
    return {ErrorCode::invalid, "\"" + options.name + "\" is no name: 1 to 32 of a-z, 0-9 and -"};
  }
  if (options.days < 1 || options.days > 7300) return {ErrorCode::invalid, "a certificate is valid for 1 to 7300 days"};
  if (stem.empty()) stem = text(options.role);
  Random random;
  Key authority_key;
  Key key;
  Certificate authority;
  if (Status s = ready(random); !s.ok()) return s;
  int failure = mbedtls_x509_crt_parse_file(&authority.context, (folder + "/ca.crt").c_str());
  if (failure != 0) return failed("no authority in " + folder + " (ca.crt): run amphion-pki create first", failure);
  failure = mbedtls_pk_parse_keyfile(&authority_key.context, (folder + "/ca.key").c_str(), nullptr);
  if (failure != 0) return failed("cannot read the authority's key " + folder + "/ca.key", failure);
  if (Status s = key.generate(random); !s.ok()) return s;
  std::array<char, 512> issuer;
  if (mbedtls_x509_dn_gets(issuer.data(), issuer.size(), &authority.context.subject) < 0) {
    return {ErrorCode::damaged, folder + "/ca.crt names no subject"};
  }
  const std::time_t now = std::time(nullptr);
  const std::time_t to = options.expired ? now - day_seconds : now + options.days * day_seconds;
  const std::time_t from = options.expired ? now - 30 * day_seconds : now - day_seconds;
  const std::string subject = "O=Amphion,OU=" + std::string(text(options.role)) + ",CN=" + options.name;
  return write_pair(folder + "/" + stem, key, {subject, issuer.data(), &key, &authority_key, false, from, to}, random);
}

}  // namespace amphion::link
