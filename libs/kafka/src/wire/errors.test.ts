import { expect, it } from "vitest";
import { ConnectionError, checkCode, isRetriable, KafkaError } from "./errors.ts";

it("names every code of Kafka 4.3, and says what helps", () => {
  for (let code = 1; code <= 133; code++) expect(new KafkaError(code, "x").kind).toMatch(/^[A-Z_]+$/);
  expect(new KafkaError(-1, "x").kind).toBe("UNKNOWN_SERVER_ERROR");
  expect(new KafkaError(6, "writing to a/0")).toMatchObject({
    kind: "NOT_LEADER_OR_FOLLOWER",
    remedy: "refresh",
  });
  expect(new KafkaError(16, "x").remedy).toBe("coordinator");
  expect(new KafkaError(27, "x").remedy).toBe("rejoin");
  expect([new KafkaError(47, "x").remedy, new KafkaError(90, "x").remedy]).toEqual(["fenced", "fenced"]);
  expect(new KafkaError(45, "x").remedy).toBe("fail");
  expect(new KafkaError(29, "reading a/0", "not yours").message).toBe(
    "reading a/0: Kafka answers TOPIC_AUTHORIZATION_FAILED (not yours)",
  );
  expect(new KafkaError(4711, "x").kind).toBe("error 4711");
});

it("tells what can succeed later", () => {
  expect(isRetriable(new ConnectionError("x"))).toBe(true);
  for (const code of [2, 3, 5, 6, 7, 14, 15, 16, 19, 20, 51, 56, 75, 89, 100]) {
    expect(isRetriable(new KafkaError(code, "x"))).toBe(true);
  }
  for (const code of [-1, 1, 10, 25, 27, 29, 45, 47, 59, 87, 90]) {
    expect(isRetriable(new KafkaError(code, "x"))).toBe(false);
  }
  expect(isRetriable(new Error("x"))).toBe(false);
  expect(() => checkCode(0, "x")).not.toThrow();
});
