/** The printable character by which GPT-2's byte-level tokenizers write each byte. */
function byteCharacters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let others = 0;
  return Array.from({ length: 256 }, (_, byte) =>
    String.fromCodePoint(printable(byte) ? byte : 256 + others++),
  );
}

const numbered = (tokens: readonly string[]): Record<string, number> =>
  Object.fromEntries(tokens.map((token, id) => [token, id]));

const special = (id: number, content: string): object => ({
  id,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
});

const bpe = (tokens: readonly string[], merges: readonly [string, string][], options: object): object => ({
  type: "BPE",
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
  vocab: numbered(tokens),
  merges: merges.map((pair) => pair.join(" ")),
  ...options,
});

const merged = (merges: readonly [string, string][]): string[] => merges.map((pair) => pair.join(""));

/** As GPT-2's: bytes, then a few merges, then the special token that ends a text, 264. */
export function byteLevelJson(): object {
  const merges: [string, string][] = [
    ["h", "e"],
    ["t", "he"],
    ["Ġ", "the"],
    ["l", "l"],
    ["he", "ll"],
    ["hell", "o"],
    ["Ġ", "Ġ"],
    ["Ã", "©"],
  ];
  const tokens = [...byteCharacters(), ...merged(merges)];
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [special(tokens.length, "<|endoftext|>")],
    normalizer: null,
    pre_tokenizer: byteLevel,
    post_processor: null,
    decoder: byteLevel,
    model: bpe(tokens, merges, {}),
  };
}

/** As Llama's: words begin with `▁`, what is not in the vocabulary is written in bytes, and a text begins with `<s>`. */
export function byteFallbackJson(): object {
  const merges: [string, string][] = [
    ["▁", "a"],
    ["▁a", "b"],
    ["b", "a"],
  ];
  const bytes = Array.from(
    { length: 256 },
    (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
  );
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, "▁", "a", "b", "c", ...merged(merges)];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: bpe(tokens, merges, { unk_token: "<unk>", fuse_unk: true, byte_fallback: true }),
  };
}
