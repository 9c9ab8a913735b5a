// SPDX-License-Identifier: Apache-2.0
// Connections and requests; see control_server.hpp.
#include "phone-side/phoned/control_server.hpp"

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "phone-side/phoned/control_streams.hpp"

namespace amphion::phoned {
namespace {

using nlohmann::json;

constexpr std::size_t max_connections = 16;
constexpr std::chrono::seconds handshake_timeout{20};

// Output goes by a thread of its own; input is read here. Returns when either side has ended.
void serve_view(ByteStream& stream, LineReader& lines, const std::shared_ptr<ConsoleView>& view,
                const std::function<void(std::string_view)>& input) {
  stream.write(encode_line({{"ok", true}}));
  std::thread output([&] {
    try {
      while (const auto bytes = view->next()) stream.write(encode_line(console_line(*bytes)));
      if (!view->reason().empty()) stream.write(encode_line(error_reply(view->reason())));
    } catch (const std::runtime_error&) {
      view->end({});
    }
    stream.shut();
  });
  try {
    while (const auto line = lines.next()) {
      const auto bytes = console_bytes(*line);
      if (!bytes) break;
      input(*bytes);
    }
  } catch (const std::runtime_error& error) {
    spdlog::debug("console: {}", error.what());
  }
  view->end({});
  output.join();
}

// What nobody has foreseen is the asker's and the owner's to know.
json answer_to(const Request& request, Commands& commands, const Commands::Progress& progress) {
  try {
    return commands.execute(request, progress);
  } catch (const CommandError&) {
    throw;
  } catch (const std::exception& error) {
    spdlog::error("control: a command failed unexpectedly: {}", error.what());
    return error_reply(std::string("phoned failed unexpectedly: ") + error.what() +
                       "; amphion logs says what came before");
  }
}

void serve_request(ByteStream& stream, LineReader& lines, Commands& commands, const std::string& line) {
  const auto parsed = parse_request(line);
  if (const auto* wrong = std::get_if<std::string>(&parsed)) {
    stream.write(encode_line(error_reply(*wrong)));
    return;
  }
  const Request& request = std::get<Request>(parsed);
  // Who asked may go away; what was asked for goes on.
  const auto progress = [&](const json& now) {
    try {
      stream.write(encode_line({{"progress", now}}));
    } catch (const std::runtime_error& error) {
      spdlog::debug("control: {}", error.what());
    }
  };
  try {
    if (request.operation == Operation::console) {
      serve_view(stream, lines, commands.open_console(request),
                 [&](std::string_view bytes) { commands.console_input(request, bytes); });
      commands.console_left(request);
    } else if (request.operation == Operation::logs) {
      serve_view(stream, lines, commands.open_logs(request), [](std::string_view) {});
    } else {
      stream.write(encode_line(answer_to(request, commands, progress)));
    }
  } catch (const CommandError& error) {
    stream.write(encode_line(error_reply(error.what())));
  }
}

}  // namespace

void serve_control(ByteStream& stream, Commands& commands) {
  try {
    LineReader lines(stream, max_request_bytes);
    try {
      while (const auto line = lines.next()) serve_request(stream, lines, commands, *line);
    } catch (const LineTooLong& error) {
      stream.write(encode_line(error_reply(error.what())));
    }
  } catch (const std::exception& error) {
    spdlog::debug("control: {}", error.what());
  }
  stream.shut();
}

ControlServer::~ControlServer() { stop(); }

void ControlServer::start(const link::Identity& identity, link::CodeDesk* newcomers, link::Sign sign) {
  newcomers_ = newcomers;
  sign_ = std::move(sign);
  if (!options_.socket.empty()) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (options_.socket.size() >= sizeof address.sun_path)
      throw std::runtime_error(options_.socket + ": is too long for a socket");
    std::memcpy(address.sun_path, options_.socket.data(), options_.socket.size());
    unlink(options_.socket.c_str());
    socket_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const mode_t before = umask(0077);
    const bool good = socket_ >= 0 && bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                      listen(socket_, 8) == 0;
    umask(before);
    if (!good) throw std::system_error(errno, std::generic_category(), options_.socket);
    socket_thread_ = std::thread([this] { accept_socket(); });
  }
  if (options_.address.empty()) return;
  const auto endpoint = link::parse_endpoint(options_.address, 7447);
  if (!endpoint.ok()) throw std::runtime_error(endpoint.error().text);
  link::CodeKey code_key;
  if (newcomers_ != nullptr) code_key = [this] { return newcomers_->key(); };
  auto listener = link::TlsListener::open(*endpoint, identity, {link::Role::owner}, std::move(code_key));
  if (!listener.ok()) throw std::runtime_error(listener.error().text);
  listener_ = std::move(*listener);
  tls_thread_ = std::thread([this] { accept_tls(); });
}

void ControlServer::stop() {
  if (stopping_.exchange(true)) return;
  if (listener_) listener_->close();
  if (socket_ >= 0) shutdown(socket_, SHUT_RDWR);
  if (tls_thread_.joinable()) tls_thread_.join();
  if (socket_thread_.joinable()) socket_thread_.join();
  {
    const std::lock_guard lock(mutex_);
    for (Connection& one : connections_) {
      if (one.stream) one.stream->shut();
    }
  }
  reap(true);
  if (socket_ < 0) return;
  close(socket_);
  unlink(options_.socket.c_str());
}

void ControlServer::accept_tls() {
  for (;;) {
    auto pending = listener_->accept();
    if (stopping_) return;
    if (!pending.ok()) {
      spdlog::warn("control: {}", pending.error().text);
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      continue;
    }
    auto shared = std::shared_ptr<link::TlsListener::Pending>(std::move(*pending));
    begin([this, shared] { return greet(*shared); });
  }
}

// An owner's stream; null for whom no command is taken from.
std::shared_ptr<ByteStream> ControlServer::greet(link::TlsListener::Pending& pending) {
  auto stream = pending.handshake(link::in(handshake_timeout));
  if (!stream.ok()) {
    spdlog::warn("control: {} was refused: {}", pending.peer_address(), stream.error().text);
    return nullptr;
  }
  if ((*stream)->peer_role() == link::Role::owner) return std::make_shared<LinkByteStream>(std::move(*stream));
  const auto served =
      link::serve_newcomer(**stream, *newcomers_, link::Role::owner, sign_, link::in(handshake_timeout));
  if (served.ok()) {
    spdlog::warn("control: {} is an owner from now on, by a one-time code", pending.peer_address());
  } else {
    spdlog::warn("control: {} did not become an owner: {}", pending.peer_address(), served.error().text);
  }
  return nullptr;
}

void ControlServer::accept_socket() {
  for (;;) {
    const int fd = accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC);
    if (stopping_) {
      if (fd >= 0) close(fd);
      return;
    }
    if (fd < 0) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      continue;
    }
    auto stream = std::make_shared<SocketByteStream>(fd);
    begin([stream]() -> std::shared_ptr<ByteStream> { return stream; });
  }
}

void ControlServer::begin(std::function<std::shared_ptr<ByteStream>()> open) {
  reap(false);
  const std::lock_guard lock(mutex_);
  if (connections_.size() >= max_connections) {
    spdlog::warn("control: more than {} connections; one is turned away", max_connections);
    return;
  }
  Connection& one = connections_.emplace_back();
  one.thread = std::thread([this, &one, open = std::move(open)]() mutable {
    auto stream = open();
    open = {};
    {
      const std::lock_guard inner(mutex_);
      one.stream = stream;
      if (stream && stopping_) stream->shut();
    }
    if (stream) serve_control(*stream, commands_);
    one.done = true;
  });
}

void ControlServer::reap(bool all) {
  std::list<Connection> ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto one = connections_.begin(); one != connections_.end();) {
      const auto next = std::next(one);
      if (all || one->done) ended.splice(ended.end(), connections_, one);
      one = next;
    }
  }
  for (Connection& one : ended) one.thread.join();
}

}  // namespace amphion::phoned
