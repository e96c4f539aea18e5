#include "text/tokenizer/normalizers/normalizer.h"

#include "text/tokenizer/parts_catalog.h"

namespace sluice {
namespace {

constexpr PartKind<Normalizer> kNormalizerKinds[] = {
    {"BertNormalizer", parse_bert_normalizer},
    {"ByteLevel", parse_byte_level_normalizer},
    {"Lowercase", parse_lowercase},
    {"NFC", parse_nfc},
    {"NFD", parse_nfd},
    {"NFKC", parse_nfkc},
    {"NFKD", parse_nfkd},
    {"Nmt", parse_nmt},
    {"Precompiled", parse_precompiled},
    {"Prepend", parse_prepend},
    {"Replace", parse_replace},
    {"Strip", parse_strip},
    {"StripAccents", parse_strip_accents},
};

}  // namespace

std::string Normalizer::apply(std::string_view text, bool at_start) const {
  std::string out(text);
  for (const Step& step : steps_) step(out, at_start);
  return out;
}

Result<Normalizer> parse_normalizer(const nlohmann::json& description) {
  Normalizer out;
  SLUICE_TRY_STATUS(parse_part<Normalizer>(description, "normalizer", "normalizers", kNormalizerKinds, out));
  return out;
}

}  // namespace sluice
