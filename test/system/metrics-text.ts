/** One sample: `name{label="value"} 1`. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

const COMMENT = /^# (?:HELP|TYPE|UNIT) [a-zA-Z_:][\w:]* .*$/;
const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([-+]?(?:[\d.]+(?:e[-+]?\d+)?|Inf)|NaN)(?: \d+)?$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** Reads the Prometheus text format, version 0.0.4. Throws on a line that is none of it. */
export function parseMetrics(text: string): readonly Sample[] {
  return text
    .split("\n")
    .filter((line) => line !== "" && !COMMENT.test(line))
    .map((line) => {
      const [, name, labels = "", value] = SAMPLE.exec(line) ?? [];
      const rest = labels.replaceAll(LABEL, "").replaceAll(",", "");
      if (name === undefined || value === undefined || rest !== "") throw new Error(`no metric: ${line}`);
      return {
        name,
        labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, key, text]) => [key, text])),
        value: Number(value.replace("Inf", "Infinity")),
      };
    });
}
