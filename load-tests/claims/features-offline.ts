import { mkdtemp, rm } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { featureNames } from "@millrace/lines";
import { openParquet } from "@millrace/parquet";
import { type Claim, type Context, type Measurement, median } from "../claim.ts";
import { compareFiles, compareWithStream, type Offline, type OfflineRun, runOffline } from "../offline.ts";
import type { OfflineJob } from "../offline-child.ts";
import { W2 } from "../w1.ts";
import { writeW1Archive } from "../w1-archive.ts";
import { w1Line } from "../w1-line.ts";

const TOPIC = "payments";
const PARTITIONS = 4;
const QUESTIONS = 200_000;
const THREADS = 2;
/** The replay is measured before and after its peers. */
const ORDER: readonly OfflineJob["how"][] = ["replay", "windows", "panes", "replay"];
const STREAM_EVENTS = 200_000;
const STREAM_EVERY = 10;
const MEMORY_MB = 512;

async function run({ say, stop }: Context): Promise<Measurement> {
  const folder = await mkdtemp(join(tmpdir(), "millrace-offline-"));
  const parquet = await openParquet({
    memoryMb: MEMORY_MB,
    threads: THREADS,
    scratch: join(folder, "scratch"),
  });
  try {
    say(`writes an archive of ${W2.events} payments, which is not measured`);
    const archive = await writeW1Archive(folder, TOPIC, PARTITIONS, W2, QUESTIONS, parquet, stop);
    const offline: Offline = { topic: TOPIC, partitions: PARTITIONS, folder, archive, threads: THREADS };
    const runs: Record<OfflineJob["how"], OfflineRun[]> = { replay: [], windows: [], panes: [] };
    for (const how of ORDER) {
      const load = loadavg()[0] as number;
      const one = await runOffline(offline, how, stop);
      runs[how].push(one);
      say(
        `${how.padEnd(9)} ${one.seconds.toFixed(1)} s, ${one.cpuSeconds.toFixed(1)} s of processors, ` +
          `${Math.round(one.peakRssMb)} MB (load average ${load.toFixed(1)} before)`,
      );
    }
    const faults: string[] = [];
    const ours = runs.replay[0] as OfflineRun;
    const names = featureNames(w1Line(TOPIC, TOPIC, "full", PARTITIONS));
    let values = 0;
    for (const how of ["windows", "panes"] as const) {
      const compared = await compareFiles(names, ours.out, (runs[how][0] as OfflineRun).out, parquet);
      values += compared.values;
      if (compared.different > 0)
        faults.push(`${compared.different} values differ from ${how}: ${compared.first}`);
    }
    const streamed = await compareWithStream(offline, W2, STREAM_EVENTS, STREAM_EVERY, stop);
    if (streamed.different > 0) {
      faults.push(`${streamed.different} values differ from the stream: ${streamed.first}`);
    }
    const seconds = (how: OfflineJob["how"]): number => median(runs[how].map((one) => one.seconds));
    return {
      value: QUESTIONS / seconds("replay"),
      baseline: QUESTIONS / seconds("windows"),
      faults,
      parts: {
        events: archive.events,
        questions: QUESTIONS,
        features: names.length,
        threads: THREADS,
        timesPanes: seconds("panes") / seconds("replay"),
        valuesComparedWithSql: values,
        valuesComparedWithStream: streamed.values,
        ...Object.fromEntries(
          Object.entries(runs).flatMap(([how, list]) => [
            [`${how}Seconds`, list.map((one) => Number(one.seconds.toFixed(2)))],
            [`${how}CpuSeconds`, list.map((one) => Number(one.cpuSeconds.toFixed(2)))],
            [`${how}PeakRssMb`, list.map((one) => Math.round(one.peakRssMb))],
          ]),
        ),
        loadAverage: loadavg().map((load) => Number(load.toFixed(1))),
      },
    };
  } finally {
    parquet.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const claim: Claim = {
  name: "features-offline",
  statement:
    "A training set of 200,000 vectors of 22 features, each as of its own time, out of 5 million archived events, is " +
    "made at least 5 times as fast as by DuckDB's window functions, with the same values to the bit; SQL that adds up " +
    "panes first, written by hand for these features, stands beside it.",
  unit: "vectors/s",
  target: { atLeastTimesBaseline: 5 },
  limitSeconds: 1_800,
  run,
};
export default claim;
