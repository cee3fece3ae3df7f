// Merging of pieces by rank.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "Bpe.h"
#include "Utf8.h"
#include "loopc/runtime/Error.h"
#include <queue>

namespace loopc::rt {

namespace {

constexpr size_t maxCachedPieces = 16384;
constexpr size_t maxCachedBytes = 128;

/// The alphabet of GPT-2: printable Latin-1 characters stand for themselves, the other 68 bytes for U+0100 on.
struct Alphabet {
  uint32_t ofByte[256];
  int16_t ofCode[0x144];

  Alphabet() {
    std::fill(std::begin(ofCode), std::end(ofCode), int16_t(-1));
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; ++byte) {
      bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
      ofByte[byte] = printable ? byte : next++;
      ofCode[ofByte[byte]] = int16_t(byte);
    }
  }
};
const Alphabet alphabet;

} // namespace

std::optional<std::string> bytesOfAlphabet(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i < text.size();) {
    uint32_t code;
    size_t length = decodeUtf8(text.substr(i), code);
    if (!length || code >= std::size(alphabet.ofCode) || alphabet.ofCode[code] < 0)
      return std::nullopt;
    bytes += char(alphabet.ofCode[code]);
    i += length;
  }
  return bytes;
}

std::string alphabetOfBytes(std::string_view bytes) {
  std::string text;
  for (char byte : bytes)
    appendUtf8(text, alphabet.ofByte[static_cast<unsigned char>(byte)]);
  return text;
}

void Bpe::addToken(std::string bytes, int32_t id) {
  if (bytes.size() == 1)
    byteToken[static_cast<unsigned char>(bytes[0])] = id;
  tokens.emplace(std::move(bytes), id);
}

static uint64_t pairKey(int32_t left, int32_t right) { return uint64_t(uint32_t(left)) << 32 | uint32_t(right); }

bool Bpe::addMerge(int32_t left, int32_t right, int32_t result, uint32_t rank) {
  return merges.try_emplace(pairKey(left, right), Merge{rank, result}).second;
}

const Bpe::Merge *Bpe::find(int32_t left, int32_t right) const {
  auto it = merges.find(pairKey(left, right));
  return it == merges.end() ? nullptr : &it->second;
}

std::vector<int32_t> Bpe::merge(std::string_view piece) const {
  constexpr uint32_t none = UINT32_MAX;
  struct Symbol {
    int32_t token;
    uint32_t previous, next;
    bool alive = true;
  };
  struct Candidate {
    uint32_t rank, at;
    int32_t left, right, result;
    bool operator>(const Candidate &other) const { return rank != other.rank ? rank > other.rank : at > other.at; }
  };
  std::vector<Symbol> symbols;
  symbols.reserve(piece.size());
  for (char byte : piece) {
    int32_t token = byteToken[static_cast<unsigned char>(byte)];
    if (token < 0 && !unknown)
      throw Error("", "", "text whose bytes have tokens",
                  "byte " + std::to_string(static_cast<unsigned char>(byte)) + " in " + rt::quoted(piece));
    uint32_t i = uint32_t(symbols.size());
    symbols.push_back({token < 0 ? *unknown : token, i ? i - 1 : none, i + 1 < piece.size() ? i + 1 : none});
  }
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  auto consider = [&](uint32_t at) {
    if (at == none || symbols[at].next == none)
      return;
    int32_t left = symbols[at].token, right = symbols[symbols[at].next].token;
    if (const Merge *merge = find(left, right))
      queue.push({merge->rank, at, left, right, merge->result});
  };
  for (uint32_t i = 0; i + 1 < symbols.size(); ++i)
    consider(i);
  while (!queue.empty()) {
    Candidate best = queue.top();
    queue.pop();
    Symbol &left = symbols[best.at];
    // Entries outlive the pairs they were made for; only a pair that still stands is joined.
    if (!left.alive || left.token != best.left || left.next == none || symbols[left.next].token != best.right)
      continue;
    Symbol &right = symbols[left.next];
    right.alive = false;
    left.token = best.result;
    left.next = right.next;
    if (left.next != none)
      symbols[left.next].previous = best.at;
    consider(left.previous);
    consider(best.at);
  }
  std::vector<int32_t> out;
  for (uint32_t i = symbols.empty() ? none : 0; i != none; i = symbols[i].next)
    out.push_back(symbols[i].token);
  return out;
}

void Bpe::encode(std::string_view piece, std::vector<int32_t> &out) const {
  if (ignoreMerges)
    if (auto it = tokens.find(piece); it != tokens.end()) {
      out.push_back(it->second);
      return;
    }
  bool keep = piece.size() <= maxCachedBytes;
  if (keep) {
    std::lock_guard guard(cacheLock);
    if (auto it = cache.find(piece); it != cache.end()) {
      out.insert(out.end(), it->second.begin(), it->second.end());
      return;
    }
  }
  std::vector<int32_t> merged = merge(piece);
  out.insert(out.end(), merged.begin(), merged.end());
  if (keep) {
    std::lock_guard guard(cacheLock);
    if (cache.size() < maxCachedPieces)
      cache.try_emplace(std::string(piece), std::move(merged));
  }
}

} // namespace loopc::rt
