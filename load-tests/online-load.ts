/**
 * Asks for the features of entities at a steady rate, whatever comes of it: a process of its own, told by one JSON
 * argument. A request's time counts from when it was due to the last byte of its answer. It speaks gRPC by Node's HTTP/2
 * itself, and decodes only the last answer: it shares its cores with what it measures. It says the times, and ends.
 */
import { once } from "node:events";
import { connect, type OutgoingHttpHeaders } from "node:http2";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { featureApi } from "@millrace/contracts";
import { sleep } from "@millrace/runtime";
import { random } from "@millrace/testkit";

export interface OnlineLoad {
  readonly port: number;
  readonly token: string;
  readonly line: string;
  /** W1's accounts, asked for alike. */
  readonly accounts: number;
  readonly perSecond: number;
  readonly seconds: number;
  /** Requests that were due in the first so many seconds are not counted: both sides were warming up. */
  readonly leftOutSeconds: number;
}

/** ms; `values` is how many an answer has. */
export interface OnlineTimes {
  readonly answered: number;
  readonly failed: number;
  readonly values: number;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
}

/** Answered before the counting begins. */
const WARM_UP = 8_000;
const WARM_UP_AT_ONCE = 8;
const WINDOW_BYTES = 4 * 1024 * 1024;
/** Before a message: whether it is compressed, and its length. */
const FRAME_BYTES = 5;

if (import.meta.main) {
  const { port, token, line, accounts, perSecond, seconds, leftOutSeconds } = JSON.parse(
    process.argv[2] ?? "{}",
  ) as OnlineLoad;
  const { getVectors } = featureApi.FeatureService.method;
  const headers: OutgoingHttpHeaders = {
    ":method": "POST",
    ":path": `/${featureApi.FeatureService.typeName}/${getVectors.name}`,
    "content-type": "application/grpc",
    te: "trailers",
    authorization: `Bearer ${token}`,
  };
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: WINDOW_BYTES } });
  await once(session, "connect");
  session.setLocalWindowSize(WINDOW_BYTES);
  const draw = random(11);
  const requests = Array.from({ length: accounts }, (_, i) => {
    const entityJson = `{"account":"acct-${String(i).padStart(6, "0")}"}`;
    const message = toBinary(
      getVectors.input,
      create(getVectors.input, { line, withoutNames: true, queries: [{ entityJson }] }),
    );
    const frame = Buffer.alloc(FRAME_BYTES + message.length);
    frame.writeUInt32BE(message.length, 1);
    frame.set(message, FRAME_BYTES);
    return frame;
  });
  let chunks: Buffer[] = [];
  const ask = (done: (isOk: boolean) => void): void => {
    const stream = session.request(headers);
    const received: Buffer[] = [];
    let isOk = false;
    stream.on("trailers", (trailers) => {
      isOk = trailers["grpc-status"] === "0";
    });
    stream.on("data", (chunk: Buffer) => received.push(chunk));
    stream.on("error", () => {});
    stream.on("close", () => {
      if (isOk) chunks = received;
      done(isOk);
    });
    stream.end(requests[Math.floor(accounts * draw())]);
  };
  await Promise.all(
    Array.from({ length: WARM_UP_AT_ONCE }, async () => {
      for (let i = 0; i < WARM_UP / WARM_UP_AT_ONCE; i++) await new Promise(ask);
    }),
  );
  const total = perSecond * seconds;
  const leftOut = perSecond * leftOutSeconds;
  const times = new Float64Array(total - leftOut).fill(Number.POSITIVE_INFINITY);
  let [answered, failed] = [0, 0];
  const startedAt = performance.now();
  for (let sent = 0; sent < total; await sleep(1)) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) * perSecond) / 1_000));
    for (; sent < due; sent++) {
      const number = sent;
      ask((isOk) => {
        if (!isOk) failed++;
        else answered++;
        if (isOk && number >= leftOut) {
          times[number - leftOut] = performance.now() - startedAt - (number * 1_000) / perSecond;
        }
      });
    }
  }
  while (answered + failed < total) await sleep(10);
  times.sort();
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? Number.NaN;
  const last = fromBinary(getVectors.output, Buffer.concat(chunks).subarray(FRAME_BYTES));
  const said: OnlineTimes = {
    answered,
    failed,
    values: last.answers[0]?.values.length ?? 0,
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
  };
  process.stdout.write(`${JSON.stringify(said)}\n`);
  session.close();
}
