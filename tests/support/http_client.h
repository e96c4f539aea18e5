#pragma once
// A blocking HTTP/1.1 client on plain sockets, for tests: it can also misbehave (send bytes of any kind, half a
// request, read slowly or not at all, go away).

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::test {

struct HttpAnswer {
  int status = 0;                              // 0: the connection ended before a whole answer
  std::map<std::string, std::string> headers;  // names in lower case
  std::string body;                            // without the framing of chunks
  bool complete = false;                       // false: the connection ended inside the body
};

class HttpClient {
 public:
  explicit HttpClient(int port) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return connected_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void half_close() { ::shutdown(fd_, SHUT_WR); }
  /// Keeps the kernel from buffering what this client does not read.
  void set_receive_buffer(int bytes) { ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes); }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  static std::string request(std::string_view method, std::string_view path, std::string_view body = {},
                             std::string_view extra_headers = {}) {
    std::string text;
    text.append(method).append(" ").append(path).append(" HTTP/1.1\r\nHost: test\r\n").append(extra_headers);
    if (!body.empty() || method == "POST")
      text += "Content-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
    return text.append("\r\n").append(body);
  }
  HttpAnswer call(std::string_view method, std::string_view path, std::string_view body = {},
                  std::string_view extra_headers = {}) {
    send(request(method, path, body, extra_headers));
    return answer(method == "HEAD");
  }

  /// Whatever arrives next; empty at the end of the connection or after `patience_ms`.
  std::string receive(int patience_ms = 20'000) {
    if (!buffer_.empty()) return std::exchange(buffer_, {});
    return receive_more(patience_ms);
  }
  /// True when the server ends the connection within the time.
  bool ended(int patience_ms = 20'000) {
    while (true) {
      pollfd p{fd_, POLLIN, 0};
      if (::poll(&p, 1, patience_ms) <= 0) return false;
      char bytes[4096];
      if (::recv(fd_, bytes, sizeof bytes, 0) <= 0) return true;
    }
  }

  HttpAnswer answer(bool head_only = false) {
    HttpAnswer result;
    size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return result;
    const std::string head = buffer_.substr(0, end + 2);
    buffer_.erase(0, end + 4);
    if (head.size() > 12) result.status = std::atoi(head.c_str() + 9);
    for (size_t at = head.find("\r\n") + 2; at < head.size();) {
      const size_t stop = head.find("\r\n", at), colon = head.find(':', at);
      std::string name = head.substr(at, colon - at);
      for (char& c : name) c = static_cast<char>(std::tolower(c));
      result.headers[name] = head.substr(colon + 2, stop - colon - 2);
      at = stop + 2;
    }
    if (head_only || result.status == 204) {
      result.complete = true;
    } else if (result.headers.count("transfer-encoding") != 0) {
      result.complete = read_chunks(result.body);
    } else if (result.headers.count("content-length") != 0) {
      const size_t size = std::strtoull(result.headers["content-length"].c_str(), nullptr, 10);
      while (buffer_.size() < size && fill()) {}
      result.complete = buffer_.size() >= size;
      result.body = buffer_.substr(0, size);
      buffer_.erase(0, size);
    } else {
      while (fill()) {}
      result.body = std::exchange(buffer_, {});
      result.complete = true;
    }
    return result;
  }
  /// The next chunk of a stream whose head was taken by head_of_stream(); nothing at its end.
  std::optional<std::string> chunk() {
    size_t end;
    while ((end = buffer_.find("\r\n")) == std::string::npos)
      if (!fill()) return std::nullopt;
    const size_t size = std::strtoull(buffer_.c_str(), nullptr, 16);
    while (buffer_.size() < end + 2 + size + 2)
      if (!fill()) return std::nullopt;
    std::string data = buffer_.substr(end + 2, size);
    buffer_.erase(0, end + 2 + size + 2);
    if (size == 0) return std::nullopt;
    return data;
  }
  std::string head_of_stream() {
    size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill()) return {};
    std::string head = buffer_.substr(0, end + 4);
    buffer_.erase(0, end + 4);
    return head;
  }

 private:
  std::string receive_more(int patience_ms) {
    pollfd p{fd_, POLLIN, 0};
    if (::poll(&p, 1, patience_ms) <= 0) return {};
    char bytes[16384];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
    return n <= 0 ? std::string() : std::string(bytes, static_cast<size_t>(n));
  }
  bool fill() {
    const std::string more = receive_more(20'000);
    buffer_ += more;
    return !more.empty();
  }
  bool read_chunks(std::string& body) {
    while (true) {
      size_t end;
      while ((end = buffer_.find("\r\n")) == std::string::npos)
        if (!fill()) return false;
      const size_t size = std::strtoull(buffer_.c_str(), nullptr, 16);
      while (buffer_.size() < end + 2 + size + 2)
        if (!fill()) return false;
      body.append(buffer_, end + 2, size);
      buffer_.erase(0, end + 2 + size + 2);
      if (size == 0) return true;
    }
  }

  int fd_ = -1;
  bool connected_ = false;
  std::string buffer_;
};

}  // namespace sluice::test
