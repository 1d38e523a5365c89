/** The terminal, as an argument: tests hold it, and no command writes anywhere else. */
export interface Io {
  write(text: string): void;
  writeError(text: string): void;
  readInput(): Promise<string>;
  readonly terminal: boolean;
  readonly color: boolean;
  columns(): number;
  rows(): number;
}

/** What a command answers: the same content for machines and for people. */
export interface Result {
  readonly json: unknown;
  readonly text: string;
  /** 1: the command ran and found something wrong. */
  readonly exitCode?: 0 | 1;
}

/** The terminal of this process. */
export function processIo(color: boolean): Io {
  const { stdin, stdout, stderr } = process;
  return {
    write: (text) => void stdout.write(text),
    writeError: (text) => void stderr.write(text),
    readInput: async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of stdin) chunks.push(Buffer.from(chunk));
      return Buffer.concat(chunks).toString("utf8");
    },
    terminal: stdout.isTTY === true,
    color,
    columns: () => stdout.columns ?? 80,
    rows: () => stdout.rows ?? 24,
  };
}

/** One line of JSON, with 64-bit integers (protobuf) as numbers: counts, versions and times are all safe integers. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? Number(inner) : inner));
}
