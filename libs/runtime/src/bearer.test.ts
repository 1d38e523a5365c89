import { describe, expect, it } from "vitest";
import { bearerTokens, openOnLoopback } from "./bearer.ts";

const PATH = "/a.Service/Method";
const sending = (authorization: string | undefined) => (name: string) =>
  name === "authorization" ? authorization : undefined;

describe("who may call", () => {
  it("is whoever sends one of the tokens, and nobody else", () => {
    const authorise = bearerTokens(["0123456789abcdef", "fedcba9876543210"]);
    expect(authorise(sending("Bearer 0123456789abcdef"), PATH)).toBeNull();
    expect(authorise(sending("Bearer fedcba9876543210"), PATH)).toBeNull();
    for (const wrong of [
      undefined,
      "",
      "0123456789abcdef",
      "Bearer 0123456789abcdeg",
      "bearer 0123456789abcdef",
    ]) {
      expect(authorise(sending(wrong), PATH), wrong).toMatchObject({ code: "unauthenticated" });
    }
  });

  it("is everybody on loopback only", () => {
    expect(openOnLoopback("127.0.0.1")(sending(undefined), PATH)).toBeNull();
    expect(() => openOnLoopback("0.0.0.0")).toThrow(/token/);
  });
});
