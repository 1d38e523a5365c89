/**
 * Asks for the features of entities at a steady rate, whatever comes of it: a process of its own, told by one JSON
 * argument. A request's time counts from when it was due. It says the times, and ends by itself.
 */
import { featureApi } from "@millrace/contracts";
import { createRpcClient } from "@millrace/rpc";
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
const WARM_UP = 4_000;

if (import.meta.main) {
  const { port, token, line, accounts, perSecond, seconds } = JSON.parse(
    process.argv[2] ?? "{}",
  ) as OnlineLoad;
  const client = createRpcClient(featureApi.FeatureService, `127.0.0.1:${port}`, { token });
  const draw = random(11);
  const ask = (): Promise<{ readonly answers: readonly { readonly values: readonly number[] }[] }> => {
    const entityJson = `{"account":"acct-${String(Math.floor(accounts * draw())).padStart(6, "0")}"}`;
    return client.getVectors({ line, withoutNames: true, queries: [{ entityJson }] });
  };
  for (let i = 0; i < WARM_UP; i++) await ask();
  const times: number[] = [];
  let [failed, values] = [0, 0];
  const underWay: Promise<void>[] = [];
  const startedAt = performance.now();
  const total = perSecond * seconds;
  for (let sent = 0; sent < total; await sleep(1)) {
    const due = Math.min(total, Math.floor(((performance.now() - startedAt) * perSecond) / 1_000));
    for (; sent < due; sent++) {
      const dueAt = startedAt + (sent * 1_000) / perSecond;
      underWay.push(
        ask().then(
          ({ answers }) => {
            times.push(performance.now() - dueAt);
            values = answers[0]?.values.length ?? 0;
          },
          () => {
            failed++;
          },
        ),
      );
    }
  }
  await Promise.all(underWay);
  times.sort((a, b) => a - b);
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(share * times.length))] ?? Number.NaN;
  const said: OnlineTimes = {
    answered: times.length,
    failed,
    values,
    p50: at(0.5),
    p99: at(0.99),
    p999: at(0.999),
  };
  process.stdout.write(`${JSON.stringify(said)}\n`);
  client.close();
}
