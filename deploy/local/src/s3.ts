import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { passedOn } from "./config.ts";
import type { S3Connection } from "./connections.ts";
import { acceptsTcp, answersOk } from "./probes.ts";
import type { ProcessSpec } from "./process.ts";

/** A local S3 store. */
export interface S3Server {
  readonly home: string;
  readonly port: number;
  readonly accessKey: string;
  readonly secretKey: string;
}

const dataFolder = async (home: string): Promise<string> => {
  const folder = join(home, "data", "s3");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
};

/** The process of a MinIO server on loopback, without console, update checks and calls home. */
export async function minioProcess(program: string, server: S3Server): Promise<ProcessSpec> {
  const { PATH = "", HOME = "" } = passedOn();
  return {
    name: "s3",
    kind: "server",
    program,
    args: [
      "server",
      "--quiet",
      `--address=127.0.0.1:${server.port}`,
      `--certs-dir=${join(server.home, "config", "minio-certs")}`,
      await dataFolder(server.home),
    ],
    cwd: server.home,
    env: {
      PATH,
      HOME,
      MINIO_ROOT_USER: server.accessKey,
      MINIO_ROOT_PASSWORD: server.secretKey,
      MINIO_BROWSER: "off",
      MINIO_UPDATE: "off",
      MINIO_CALLHOME_ENABLE: "off",
    },
    ready: () => answersOk(`http://127.0.0.1:${server.port}/minio/health/ready`),
    stopMs: 10_000,
  };
}

/** The process of a versitygw server on loopback over a plain folder. */
export async function versitygwProcess(program: string, server: S3Server): Promise<ProcessSpec> {
  const { PATH = "", HOME = "" } = passedOn();
  return {
    name: "s3",
    kind: "server",
    program,
    args: [`--port=127.0.0.1:${server.port}`, "--quiet", "posix", await dataFolder(server.home)],
    cwd: server.home,
    env: { PATH, HOME, ROOT_ACCESS_KEY: server.accessKey, ROOT_SECRET_KEY: server.secretKey },
    ready: () => acceptsTcp(server.port),
    stopMs: 10_000,
  };
}

/** How clients reach the store. */
export function s3Connection(server: S3Server): S3Connection {
  return {
    url: `http://127.0.0.1:${server.port}`,
    accessKey: server.accessKey,
    secretKey: server.secretKey,
  };
}
