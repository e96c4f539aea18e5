// tokenizer.model of sentencepiece: a protocol buffer (sentencepiece_model.proto), read field by field.

#include <cstring>

#include "base/mapped_file.h"
#include "text/tokenizer/catalog.h"
#include "text/tokenizer/formats/gguf_model.h"
#include "text/tokenizer/load_tokenizer.h"

namespace sluice {
namespace {

/// One field of a message. Every read is checked against the end of the message.
struct WireField {
  uint32_t number = 0;
  uint64_t value = 0;      // varint or fixed-width
  std::string_view bytes;  // length-delimited
};

class WireReader {
 public:
  WireReader(std::string_view message, size_t file_offset) : message_(message), file_offset_(file_offset) {}
  bool done() const { return at_ == message_.size(); }
  size_t offset() const { return file_offset_ + at_; }

  Result<WireField> next() {
    SLUICE_TRY(const uint64_t key, varint());
    WireField field;
    field.number = static_cast<uint32_t>(key >> 3);
    if (field.number == 0) return fault("field number 0");
    switch (key & 7) {
      case 0: {
        SLUICE_TRY(field.value, varint());
        return field;
      }
      case 1:
        return fixed(field, 8);
      case 2: {
        SLUICE_TRY(const uint64_t size, varint());
        if (size > message_.size() - at_) return fault(fmt::format("a field of {} bytes runs past the end", size));
        field.bytes = message_.substr(at_, size);
        at_ += size;
        return field;
      }
      case 5:
        return fixed(field, 4);
      default:
        return fault(fmt::format("wire type {}", key & 7));
    }
  }

 private:
  Error fault(const std::string& what) const {
    return corrupt_data(fmt::format("byte {}: {}; not a sentencepiece model, or a damaged one", offset(), what));
  }
  Result<uint64_t> varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (done()) return fault("ends inside a number");
      const auto byte = static_cast<unsigned char>(message_[at_++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) return value;
    }
    return fault("a number of more than 64 bits");
  }
  Result<WireField> fixed(WireField field, size_t width) {
    if (message_.size() - at_ < width) return fault("ends inside a number");
    std::memcpy(&field.value, message_.data() + at_, width);  // little-endian, as are the machines we run on
    at_ += width;
    return field;
  }

  std::string_view message_;
  size_t file_offset_, at_ = 0;
};

/// Calls f(field) for each field of the message.
template <class F>
Status for_each_field(std::string_view message, size_t file_offset, F&& f) {
  WireReader reader(message, file_offset);
  while (!reader.done()) {
    SLUICE_TRY(const WireField field, reader.next());
    SLUICE_TRY_STATUS(f(field));
  }
  return {};
}

struct ModelSpec {
  int64_t model_type = 1;  // 1 unigram, 2 BPE, 3 word, 4 character
  int64_t unk = 0, bos = 1, eos = 2, pad = -1;
  bool whitespace_as_suffix = false, escape_whitespaces = true;
};

Status read_piece(std::string_view message, size_t offset, GgufVocab& vocab) {
  std::string piece;
  float score = 0;
  auto type = static_cast<int32_t>(GgufTokenType::normal);
  SLUICE_TRY_STATUS(for_each_field(message, offset, [&](const WireField& field) -> Status {
    if (field.number == 1) piece = field.bytes;
    if (field.number == 2) {
      const auto bits = static_cast<uint32_t>(field.value);
      std::memcpy(&score, &bits, sizeof score);
    }
    if (field.number == 3) {
      if (field.value < 1 || field.value > 6)
        return corrupt_data(fmt::format("piece {} is of type {}", vocab.tokens.size(), field.value));
      type = static_cast<int32_t>(field.value);
    }
    return {};
  }));
  vocab.tokens.push_back(std::move(piece));
  vocab.scores.push_back(score);
  vocab.token_types.push_back(type);
  return {};
}

Status read_trainer_field(const WireField& field, ModelSpec& spec) {
  switch (field.number) {
    case 3:
      spec.model_type = static_cast<int64_t>(field.value);
      break;
    case 24:
      spec.whitespace_as_suffix = field.value != 0;
      break;
    case 40:
      spec.unk = static_cast<int32_t>(field.value);
      break;
    case 41:
      spec.bos = static_cast<int32_t>(field.value);
      break;
    case 42:
      spec.eos = static_cast<int32_t>(field.value);
      break;
    case 43:
      spec.pad = static_cast<int32_t>(field.value);
      break;
    default:
      break;
  }
  return {};
}

Status read_normalizer_field(const WireField& field, GgufVocab& vocab, ModelSpec& spec) {
  switch (field.number) {
    case 2:
      vocab.character_map = field.bytes;
      break;
    case 3:
      vocab.add_space_prefix = field.value != 0;
      break;
    case 4:
      vocab.remove_extra_whitespaces = field.value != 0;
      break;
    case 5:
      spec.escape_whitespaces = field.value != 0;
      break;
    default:
      break;
  }
  return {};
}

Status read_model(std::string_view file, GgufVocab& vocab) {
  ModelSpec spec;
  vocab.add_space_prefix = true;
  vocab.remove_extra_whitespaces = true;  // the defaults of the format
  SLUICE_TRY_STATUS(for_each_field(file, 0, [&](const WireField& field) -> Status {
    const auto offset = field.bytes.empty() ? size_t{0} : static_cast<size_t>(field.bytes.data() - file.data());
    if (field.number == 1) return read_piece(field.bytes, offset, vocab);
    if (field.number == 2)
      return for_each_field(field.bytes, offset, [&](const WireField& f) { return read_trainer_field(f, spec); });
    if (field.number == 3)
      return for_each_field(field.bytes, offset,
                            [&](const WireField& f) { return read_normalizer_field(f, vocab, spec); });
    return {};
  }));
  if (vocab.tokens.empty()) return corrupt_data("no pieces; not a sentencepiece model, or a damaged one");
  constexpr const char* kTypes[] = {"", "Unigram", "BPE", "word", "character"};
  if (spec.model_type != 1 && spec.model_type != 2)
    return unsupported(fmt::format("a sentencepiece {} model (trainer_spec.model_type {}); Unigram and BPE are supported",
                                   spec.model_type >= 1 && spec.model_type <= 4 ? kTypes[spec.model_type] : "unknown",
                                   spec.model_type));
  vocab.model = spec.model_type == 1 ? "t5" : "llama";
  if (spec.whitespace_as_suffix) return unsupported("sentencepiece treat_whitespace_as_suffix");
  if (!spec.escape_whitespaces) return unsupported("sentencepiece without escape_whitespaces");
  const auto set_id = [&](int64_t id, std::optional<TokenId>& out) {
    if (id >= 0 && static_cast<size_t>(id) < vocab.tokens.size()) out = static_cast<TokenId>(id);
  };
  set_id(spec.unk, vocab.unk);
  set_id(spec.bos, vocab.bos);
  set_id(spec.eos, vocab.eos);
  set_id(spec.pad, vocab.pad);
  return {};
}

}  // namespace

Result<GgufVocab> read_sentencepiece_vocab(const std::string& path) {
  SLUICE_TRY(const std::string file, read_file(path));
  GgufVocab vocab;
  if (const Status read = read_model(file, vocab); !read.ok()) return read.error().in(path);
  return vocab;
}

Result<std::unique_ptr<Tokenizer>> load_sentencepiece(const std::string& directory, const TokenizerConfig& config) {
  const std::string path = directory + "/tokenizer.model";
  SLUICE_TRY(const GgufVocab vocab, read_sentencepiece_vocab(path));
  TokenizerParts parts;
  if (const Status built = build_gguf_parts({vocab, config, true}, parts); !built.ok()) return built.error().in(path);
  return std::make_unique<Tokenizer>(std::move(parts));
}

}  // namespace sluice
