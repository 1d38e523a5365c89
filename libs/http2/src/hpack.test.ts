import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeFields, HeaderDecoder } from "./hpack.ts";

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ""), "hex");

function decode(decoder: HeaderDecoder, bytes: Buffer): [string, string][] {
  const fields = decoder.decode(bytes, 0, bytes.length) as readonly string[];
  return fields.flatMap((name, i): [string, string][] =>
    i % 2 === 0 ? [[name, fields[i + 1] as string]] : [],
  );
}

const REQUESTS = [
  [":method GET", ":scheme http", ":path /", ":authority www.example.com"],
  [":method GET", ":scheme http", ":path /", ":authority www.example.com", "cache-control no-cache"],
  [
    ":method GET",
    ":scheme https",
    ":path /index.html",
    ":authority www.example.com",
    "custom-key custom-value",
  ],
];
const COOKIE = "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
const RESPONSES = [
  [
    ":status 302",
    "cache-control private",
    "date Mon, 21 Oct 2013 20:13:21 GMT",
    "location https://www.example.com",
  ],
  [
    ":status 307",
    "cache-control private",
    "date Mon, 21 Oct 2013 20:13:21 GMT",
    "location https://www.example.com",
  ],
  [
    ":status 200",
    "cache-control private",
    "date Mon, 21 Oct 2013 20:13:22 GMT",
    "location https://www.example.com",
    "content-encoding gzip",
    `set-cookie ${COOKIE}`,
  ],
];

describe("HeaderDecoder on RFC 7541 appendix C", () => {
  const check = (blocks: readonly string[], expected: readonly (readonly string[])[], first = ""): void => {
    const decoder = new HeaderDecoder(16_384);
    blocks.forEach((block, i) => {
      const fields = decode(decoder, hex(i === 0 ? first + block : block));
      expect(fields.map(([name, value]) => `${name} ${value}`)).toEqual(expected[i]);
    });
  };

  it("C.2: single fields", () => {
    check(
      ["400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572"],
      [["custom-key custom-header"]],
    );
    check(["040c 2f73 616d 706c 652f 7061 7468"], [[":path /sample/path"]]);
    check(["1008 7061 7373 776f 7264 0673 6563 7265 74"], [["password secret"]]);
    check(["82"], [[":method GET"]]);
  });

  it("C.3: requests without Huffman", () => {
    check(
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ],
      REQUESTS,
    );
  });

  it("C.4: requests with Huffman", () => {
    check(
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ],
      REQUESTS,
    );
  });

  // The table of 256 bytes that these examples have is set by a size update in front.
  it("C.5: responses without Huffman, with eviction", () => {
    check(
      [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
      ],
      RESPONSES,
      "3fe101",
    );
  });

  it("C.6: responses with Huffman, with eviction", () => {
    check(
      [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      ],
      RESPONSES,
      "3fe101",
    );
  });
});

describe("HeaderDecoder", () => {
  const refuses = (block: string): void => {
    const bytes = hex(block);
    expect(() => new HeaderDecoder(16_384).decode(bytes, 0, bytes.length)).toThrow(
      expect.objectContaining({ name: "ConnectionError" }),
    );
  };

  it("refuses what is no block", () => {
    refuses("80"); // index 0
    refuses("be"); // an entry that is not there
    refuses("40"); // no name
    refuses("4003 6162"); // a string beyond the block
    refuses("82 20"); // a size update behind a field
    refuses("3fe2 1f"); // a table of more than 4,096 bytes
    refuses("ffff ffff ffff ffff ff00"); // an integer without end
    refuses("0081 0084 ffff ffff"); // Huffman: end of string
    refuses("0001 6181 18"); // Huffman: padding of zeros
  });

  it("refuses octets that a field must not have", () => {
    refuses("0001 4101 61"); // A
    refuses("0001 2001 61"); // space in a name
    refuses("0000 0161"); // no name
    refuses("0001 6102 610a"); // line feed
    refuses("0001 6101 00"); // NUL
    refuses("0001 6102 2061"); // a space in front
  });

  it("counts what is too much and keeps the table in step", () => {
    const decoder = new HeaderDecoder(100);
    const large = hex(`4001 617f 51${"62".repeat(208)}`);
    expect(decoder.decode(large, 0, large.length)).toBeNull();
    expect(new HeaderDecoder(1_000).decode(large, 0, large.length)).toEqual(["a", "b".repeat(208)]);
    const indexed = hex("be");
    expect(decoder.decode(indexed, 0, 1)).toBeNull();
  });

  it("reads what encodeFields writes", () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,40}$/);
    const value = fc.stringMatching(/^([!-~]([ -~]{0,300}[!-~])?)?$/);
    const fields = fc.array(fc.tuple(fc.oneof(name, fc.constantFrom(":path", "te", "content-type")), value), {
      maxLength: 20,
    });
    fc.assert(
      fc.property(fields, (list) => {
        expect(decode(new HeaderDecoder(100_000), Buffer.from(encodeFields(list)))).toEqual(list);
      }),
    );
  });
});
