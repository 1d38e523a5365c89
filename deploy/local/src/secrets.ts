import { randomBytes } from "node:crypto";
import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";

/** An instance's own credentials: the services' bearer token, and what the local servers ask of their clients. */
export interface Secrets {
  readonly token: string;
  readonly kafkaUsername: string;
  readonly kafkaPassword: string;
  readonly natsToken: string;
  readonly s3AccessKey: string;
  readonly s3SecretKey: string;
}

const secret = z.string().min(16);

const SecretsFile: z.ZodType<Secrets> = z.object({
  token: secret,
  kafkaUsername: z.string().min(1),
  kafkaPassword: secret,
  natsToken: secret,
  s3AccessKey: secret,
  s3SecretKey: secret,
});

/** The file with an instance's credentials. */
export const secretsFile: (home: string) => string = (home) => join(home, "secrets.json");

/**
 * The instance's credentials from `secrets.json`, made at random where there is no such file yet (mode 0600). Two
 * processes that make them at once get the same ones. Throws when the file is there but not readable as such.
 */
export async function ensureSecrets(home: string): Promise<Secrets> {
  const file = secretsFile(home);
  const found = await readSecrets(home);
  if (found !== undefined) return found;
  await mkdir(home, { recursive: true, mode: 0o700 });
  const fresh: Secrets = {
    token: random(32),
    kafkaUsername: "millrace",
    kafkaPassword: random(24),
    natsToken: random(24),
    s3AccessKey: random(10),
    s3SecretKey: random(24),
  };
  await writeOnce(file, `${JSON.stringify(fresh, null, 2)}\n`);
  return (await readSecrets(home)) as Secrets;
}

/** Makes a file that only its owner may read, unless it is there: of several makers at once, one wins. */
export async function writeOnce(file: string, text: string): Promise<void> {
  const draft = `${file}.${process.pid}.${random(4)}`;
  await writeFile(draft, text, { mode: 0o600, flag: "wx", flush: true });
  try {
    await link(draft, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await rm(draft);
  }
}

/** The instance's credentials, or undefined where it has none yet. */
export async function readSecrets(home: string): Promise<Secrets | undefined> {
  const file = secretsFile(home);
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    return SecretsFile.parse(JSON.parse(text));
  } catch (cause) {
    throw new Error(`${file} does not hold an instance's secrets; remove it to have new ones made`, {
      cause,
    });
  }
}

/** Hex, so that no configuration file needs quoting. */
const random = (bytes: number): string => randomBytes(bytes).toString("hex");
