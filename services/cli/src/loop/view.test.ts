import { describe, expect, it } from "vitest";
import { complete, training } from "./fixtures.ts";
import { newLines, stateLine } from "./plain.ts";
import { renderView } from "./view.ts";

describe("the live view", () => {
  it("shows a loop in training on 80 columns", () => {
    expect(renderView(training, 80, 50, false).join("\n")).toMatchInlineSnapshot(`
      "MILLRACE  flights  More than 15 minutes late?                             51.0 s
      ────────────────────────────────────────────────────────────────────────────────
      servers   ● kafka   ● nats   ● minio
      services  ● registry   ● ingest restarting   ● feature   ● trainer   ● inference

      stream    2001-01-05 05:00  10,000x  in 3,812 events/s  accepted 3,790 events/s
                sent 171,204 → accepted 171,180 · rejected 12
                features 86,002 → predictions 85,990 · labelled 84,020
      lag       ingest/accept 12 · feature/compute 0 · feature/watch 40 · inference/s…

      serving   version 2  lightgbm  since 14:00:20  trained until 2001-01-03 00:00
      quality   newest 10,000 labels, live          AP     AUC log loss
                what served                      0.534   0.781    0.402  █████▍
                first model (2), not retrained   0.411   0.702    0.498  ████▏
                base rate                        0.214   0.500        -  ██▏

      drift     ████████████▍       │ evidence 5.2e3 of 1.0e6  Brier 0.141 → 0.198
                origin_late_4h below its median: more than predicted
                shifted inputs (PSI) origin_late_4h 0.41 · everywhere_late_24h 0.22
                last report 2001-01-05 05:00: harm, version 2, change since 2001-01-0…
      governor  14:00:49  admitted (drift)  harm since 2001-01-05 01:00; 4,210 exampl…
                14:00:40  refused (drift)  the last run ended 2 h ago, and the cooldo…
      training  ████████            │  40%  train  lightgbm/since-change
      swap      version 2 at 14:00:20  download 12 ms · load 30 ms · drain…

      loop      ● shock 14:00:36   ● drift +12.8 s   ● decision +200 ms
                ● dataset +1.2 s   ○ training   ○ judgement   ○ registered
                ○ promoted   ○ swapped
                15.0 s since the shock
      ────────────────────────────────────────────────────────────────────────────────
      Ctrl-C stops everything; the next \`npm start\` goes on from here."
    `);
  });

  it("shows a complete loop on 120 columns", () => {
    expect(renderView(complete, 120, 50, false).join("\n")).toMatchInlineSnapshot(`
      "MILLRACE  flights  More than 15 minutes late?                                                                 1 min 10 s
      ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
      servers   ● kafka   ● nats   ● minio
      services  ● registry   ● ingest restarting   ● feature   ● trainer   ● inference

      stream    2001-01-05 05:00  10,000x  in 3,812 events/s  accepted 3,790 events/s
                sent 171,204 → accepted 171,180 · rejected 12
                features 86,002 → predictions 85,990 · labelled 84,020
      lag       ingest/accept 12 · feature/compute 0 · feature/watch 40 · inference/score 12

      serving   version 3  lightgbm  since 14:00:55  trained until 2001-01-05 05:00
      quality   newest 10,000 labels, live          AP     AUC log loss
                what served                      0.534   0.781    0.402  █████████████████████▍
                first model (2), not retrained   0.411   0.702    0.498  ████████████████▌
                base rate                        0.214   0.500        -  ████████▌

      drift     ████████████▍       │ evidence 5.2e3 of 1.0e6  Brier 0.141 → 0.198 on 21,004 labels
                origin_late_4h below its median: more than predicted
                shifted inputs (PSI) origin_late_4h 0.41 · everywhere_late_24h 0.22 · destination_late_4h 0.12
                last report 2001-01-05 05:00: harm, version 2, change since 2001-01-05 01:00
      governor  14:00:49  admitted (drift)  harm since 2001-01-05 01:00; 4,210 examples after the change
                14:00:40  refused (drift)  the last run ended 2 h ago, and the cooldown is 12 h
      training  idle
      judge     passed  log loss 0.412 against 0.521 on 2,100  ✓ gain  ✓ base-rate  ✓ parity
      swap      version 3 at 14:00:55  download 14 ms · load 41 ms · warm 8 ms · drain 3 ms

      loop      ● shock 14:00:36   ● drift +12.8 s   ● decision +200 ms   ● dataset +1.2 s   ● training +3.9 s
                ● judgement +500 ms   ● registered +200 ms   ● promoted +200 ms   ● swapped +400 ms
                version 3 serves 19.4 s after the shock
      ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────
      Ctrl-C stops everything; the next \`npm start\` goes on from here."
    `);
  });

  it("is never wider than the terminal, from 80 to 160 columns", () => {
    for (const snapshot of [training, complete]) {
      for (let columns = 80; columns <= 170; columns++) {
        const widest = Math.max(...renderView(snapshot, columns, 50, false).map((line) => line.length));
        expect(widest, `${columns} columns`).toBeLessThanOrEqual(Math.min(columns, 160));
      }
    }
  });

  it("fits a terminal of 24 rows and still shows every part of the loop", () => {
    const text = renderView(training, 80, 23, false);
    expect(text.length).toBeLessThanOrEqual(23);
    for (const part of ["serving", "quality", "drift", "governor", "training", "○ swapped"]) {
      expect(text.join("\n")).toContain(part);
    }
  });

  it("says the same with and without colours", () => {
    const colored = renderView(complete, 100, 50, true).join("\n");
    expect(colored).toContain("\u001b[");
    expect(colored.replace(/\u001b\[[\d;]*m/g, "").replace(/ +$/gm, "")).toBe(
      renderView(complete, 100, 50, false).join("\n"),
    );
  });
});

describe("plain lines", () => {
  it("tell what is new, and nothing twice", () => {
    const lines = newLines(training, complete);
    expect(lines).toContain("14:00:55 champion is version 3 (lightgbm)");
    expect(lines.filter((line) => line.includes("loop: "))).toHaveLength(5);
    expect(newLines(complete, complete)).toEqual([]);
  });

  it("sum up the state in one line", () => {
    expect(stateLine(training)).toMatchInlineSnapshot(
      `"14:00:51 stream 2001-01-05 05:00 · in 3,812/s · accepted 171,180 rejected 12 · predicted 85,990 labelled 84,020 lag 64 · champion 2 · AP 0.534 first 0.411 base 0.214 · drift 5.2e3 of 1.0e6"`,
    );
  });
});
