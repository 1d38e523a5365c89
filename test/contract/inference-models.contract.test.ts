import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { constantModel } from "@millrace/onnx-graph";
import { sha256Hex, sleep } from "@millrace/runtime";
import { type ModelProvenance, signModel } from "@millrace/signing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { calling, failedOf, rowsOf } from "./inference/callers.ts";
import { addModel, doubleModel, HOSTILE } from "./inference/models.ts";
import {
  type Candidate,
  FEATURE_DIGEST,
  flightsModel,
  type InferenceProcess,
  NAMES,
  report,
  type Stage,
  startStage,
  until,
} from "./inference/stage.ts";
import { type Tampering, TamperingStore } from "./inference/tampering-store.ts";

/** What the inference service loads, while somebody calls it: nothing that is done to a model fails a request. */
let stage: Stage;
let store: TamperingStore;
/** One node trusts a key and reads from a store that lies; the other takes what it gets. */
let wary: InferenceProcess;
let node: InferenceProcess;
let hung: Promise<Failure>;
const ours = generateKeyPairSync("ed25519");
const theirs = generateKeyPairSync("ed25519");

interface Failure {
  readonly version: number;
  readonly stage: string;
  readonly reason: string;
}

beforeAll(async () => {
  stage = await startStage();
  store = await TamperingStore.start(stage.s3Port);
  wary = await stage.startInference({
    MILLRACE_S3_URL: store.url,
    MILLRACE_TRUSTED_KEYS: publicKey(ours.publicKey),
  });
  node = await stage.startInference();
  for (const line of ["guarded", "swapped", "hanging"]) await stage.define({ name: line, title: line });
  await stage.promote("swapped", await stage.register("swapped", addModel(1)));
  await stage.promote("guarded", await stage.register("guarded", signed("guarded", addModel(1))));
  await stage.promote("flights", await stage.register("flights", signed("flights", flightsModel(0))));
  for (const line of ["guarded", "flights"]) await until(async () => (await wary.champion(line)) === 1);
  await until(async () => (await node.champion("swapped")) === 1);
  hung = hang();
}, 300_000);
afterAll(async () => {
  await store?.stop();
  await stage?.stop();
});

const publicKey = (key: KeyObject): string => key.export({ format: "der", type: "spki" }).toString("base64");

function signed(
  line: string,
  bytes: Uint8Array,
  key: KeyObject = ours.privateKey,
  change: Partial<ModelProvenance> = {},
): Candidate {
  const predicate: ModelProvenance = {
    line,
    recipe: "imported",
    runId: "",
    datasetDigest: "",
    featureDigest: "",
    parentVersion: 0,
    epoch: 0,
    ...change,
  };
  const model = { digest: sha256Hex(bytes), bytes: bytes.length, name: "model.onnx", predicate };
  return { bytes, signature: signModel(model, key) };
}

async function failureOf(of: InferenceProcess, line: string, version: number): Promise<Failure> {
  let found: Failure | undefined;
  const look = async (): Promise<boolean> => {
    const failures = (await of.status(line))?.details["failures"] as Failure[] | undefined;
    found = failures?.find((failure) => failure.version === version);
    return found !== undefined;
  };
  await until(look, 60_000);
  return found as Failure;
}

/** A model whose proof never ends: its process is stopped. On a node of its own, while the other tests run. */
async function hang(): Promise<Failure> {
  const other = await stage.startInference();
  await stage.promote("hanging", await stage.register("hanging", addModel(70)));
  await until(async () => (await other.champion("hanging")) === 1);
  const version = await stage.register("hanging", addModel(71));
  const stop = keepSignalling(other, "SIGSTOP");
  await stage.promote("hanging", version);
  const failure = await failureOf(other, "hanging", version).finally(stop);
  expect(await other.champion("hanging")).toBe(1);
  await other.end("SIGKILL");
  return failure;
}

/** Sends a signal to the processes in which a node tries models, again and again until the answer is called. */
function keepSignalling({ provers }: InferenceProcess, name: NodeJS.Signals): () => void {
  let stopped = false;
  const work = async (): Promise<void> => {
    while (!stopped) {
      for (const pid of await provers().catch(() => [])) {
        try {
          process.kill(pid, name);
        } catch {
          // It has ended.
        }
      }
      await sleep(2);
    }
  };
  void work();
  return () => {
    stopped = true;
  };
}

describe("a model that is not what it should be", () => {
  let by = 100;
  const next = (): Uint8Array => addModel(by++);

  const TRANSFERS: readonly [Tampering, RegExp][] = [
    ["a bit", /digest|damaged/],
    ["a half", /digest|damaged|size|bytes/],
    ["nothing at all", /digest|damaged|size|bytes/],
    ["another object", /digest|damaged|size|bytes/],
    ["an error", /unavailable|503|store/i],
  ];
  const RECORDS: readonly [string, () => Candidate, string, RegExp][] = [
    ["nobody has signed it", () => ({ bytes: next() }), "prove", /^signature: /],
    ["a stranger has signed it", () => signed("guarded", next(), theirs.privateKey), "prove", /^signature: /],
    [
      "its signature is another model's",
      () => ({ bytes: next(), signature: signed("guarded", next()).signature as string }),
      "prove",
      /^signature: it is about the model/,
    ],
    [
      // These bytes do serve that line.
      "its signature is another line's",
      () => signed("flights", flightsModel(0)),
      "prove",
      /^signature: it is for the line flights, not guarded/,
    ],
    ["its signature is no text of ours", () => ({ bytes: next(), signature: "{}" }), "prove", /^signature: /],
    [
      "it is larger than its record says",
      () => {
        const candidate = signed("guarded", next());
        return { ...candidate, artifactBytes: candidate.bytes.length - 1 };
      },
      "fetch",
      /larger|bytes/,
    ],
  ];

  it("is refused whatever is wrong with it, says why, and fails no request", async () => {
    const refused: string[] = [];
    const calls = await calling(
      wary.grpc,
      () => rowsOf("guarded", 1),
      2,
      async () => {
        const expectRefused = async (what: string, candidate: Candidate, at: RegExp, why: RegExp) => {
          const version = await stage.register("guarded", candidate);
          await stage.promote("guarded", version);
          const failure = await failureOf(wary, "guarded", version);
          expect([what, failure.stage, failure.reason]).toEqual([
            what,
            expect.stringMatching(at),
            expect.stringMatching(why),
          ]);
          expect(failure.reason).not.toMatch(/\/(root|home|tmp|etc)\//);
          expect(await wary.champion("guarded")).toBe(1);
          refused.push(what);
        };
        store.other = addModel(9_999);
        for (const [tampering, why] of TRANSFERS) {
          store.tampering = tampering;
          await expectRefused(tampering, signed("guarded", next()), /^fetch$/, why);
        }
        store.tampering = "none";
        for (const [what, candidate, at, why] of RECORDS) {
          await expectRefused(what, candidate(), new RegExp(`^${at}$`), why);
        }
        for (const [what, bytes] of Object.entries(HOSTILE)) {
          await expectRefused(what, signed("guarded", bytes), /^prove$/, /./);
        }
        const good = await stage.register("guarded", signed("guarded", next()));
        await stage.promote("guarded", good);
        await until(async () => (await wary.champion("guarded")) === good);
        expect((await wary.status("guarded"))?.details["failures"]).toEqual([]);
      },
    );
    expect(failedOf(calls)).toEqual([]);
    report(`models: ${refused.length} wrong ones refused, ${calls.length} calls meanwhile, 0 failed`);
  });

  it("does not become a line's with other inputs, outputs or features", async () => {
    const description = { features: NAMES.slice(1), featureDigest: FEATURE_DIGEST, recipe: "constant" };
    const wrong: Readonly<Record<string, Uint8Array>> = {
      "one feature less": constantModel(description, 0.5),
      "another signature": addModel(1),
      "another datatype": doubleModel(),
    };
    for (const [what, bytes] of Object.entries(wrong)) {
      const candidate = signed("flights", bytes, ours.privateKey, { featureDigest: FEATURE_DIGEST });
      const version = await stage.register("flights", candidate);
      await stage.promote("flights", version);
      const { reason } = await failureOf(wary, "flights", version);
      expect([what, reason]).toEqual([what, expect.stringMatching(/features|input|FP32|score/)]);
      expect(await wary.champion("flights")).toBe(1);
    }
  });

  it("does not serve from the disk when its key is trusted no more", async () => {
    await wary.end("SIGTERM");
    wary.start({ MILLRACE_TRUSTED_KEYS: publicKey(theirs.publicKey) });
    await until(async () => ((await wary.status("guarded"))?.details["failures"] as Failure[])?.length > 0);
    expect(await wary.champion("guarded")).toBeNull();
    expect((await wary.status("guarded"))?.details["failures"]).toEqual([
      expect.objectContaining({ stage: "prove", reason: expect.stringMatching(/^signature: /) }),
    ]);
  });

  it("takes only its own process with it when it crashes, and is tried again", async () => {
    const version = await stage.register("swapped", addModel(2));
    const stop = keepSignalling(node, "SIGKILL");
    await stage.promote("swapped", version);
    const failure = await failureOf(node, "swapped", version).finally(stop);
    expect(failure).toMatchObject({ stage: "prove", reason: expect.stringMatching(/SIGKILL|ended|crash/) });
    await until(async () => (await node.champion("swapped")) === version);
  });
});

describe("a proof that never ends", () => {
  it("is ended after its time", async () => {
    expect(await hung).toMatchObject({
      stage: "prove",
      reason: expect.stringMatching(/30,?000 ms|30 s|time/),
    });
  }, 120_000);
});
