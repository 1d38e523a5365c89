import { expect, it } from "vitest";
import { choose, suggest } from "./suggest.ts";

it("names what was probably meant, whatever the case of its letters, else what there is", () => {
  const known = ["account", "amount", "at", "is_gift"];
  expect(suggest("acount", known)).toBe('Did you mean "account"?');
  expect(suggest("AMOUNTS", known)).toBe('Did you mean "amount"?');
  expect(suggest("gift", known)).toBe("Use one of: account, amount, at, is_gift.");
  expect(suggest("a", known)).toBe('Did you mean "at"?');
  expect(suggest("x", ["at"])).toBe('Use "at".');
  expect(suggest("x", [])).toBe("Declare it.");
});

it("does not name more than sixteen", () => {
  const many = Array.from({ length: 20 }, (_, i) => `n${i}`);
  expect(choose(many)).toBe(`Use one of: ${many.slice(0, 16).join(", ")} and 4 more.`);
});
