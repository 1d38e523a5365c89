/** The thread that replays: takes one job after the other, and ends when it is told to. */
import { parentPort, workerData } from "node:worker_threads";
import { doReplay } from "./replay-job.ts";
import type { FromThread, ThreadOptions, ToThread } from "./replay-threads.ts";
import { openScan } from "./scan-module.ts";

const port = parentPort;
if (port === null) throw new Error("this module is started as a thread");
const { scan: scanModule, share } = workerData as ThreadOptions;
const scan = await openScan(scanModule, share);
const stop = new AbortController();
const say = (message: FromThread): void => port.postMessage(message);

port.on("message", (message: ToThread) => {
  switch (message.kind) {
    case "job":
      doReplay(message.job, {
        scan,
        onEvents: (events) => say({ kind: "events", events }),
        signal: stop.signal,
      }).then(
        (result) => say({ kind: "done", result }),
        (error: unknown) => say({ kind: "failed", error }),
      );
      return;
    case "end":
      stop.abort(new Error("the replay was stopped"));
      scan.close();
      port.close();
  }
});
