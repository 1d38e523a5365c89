import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";

const ROOT = join(import.meta.dirname, "../../..");
const folder = mkdtempSync(join(tmpdir(), "millrace-bundle-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

// C5
it("needs nothing of Node, gRPC or protobuf in a browser's bundle, which is small", () => {
  const app = join(folder, "app.ts");
  const client = JSON.stringify(join(import.meta.dirname, "index.ts"));
  writeFileSync(app, `import { createClient } from ${client};\nconsole.log(createClient);\n`);
  const bundler = join(ROOT, "node_modules/.bin/rolldown");
  const options = ["--platform", "browser", "--format", "esm", "--minify", "--dir", join(folder, "out")];
  const { status, stdout, stderr } = spawnSync(bundler, [app, ...options], { encoding: "utf8" });
  // A module that is not there for browsers is a warning of this bundler, and an error of others.
  expect(`${stdout}${stderr}`).not.toMatch(/UNRESOLVED|warning/i);
  expect(status).toBe(0);
  expect(readdirSync(join(folder, "out"))).toEqual(["app.js"]);
  const bundle = readFileSync(join(folder, "out/app.js"), "utf8");
  expect(bundle).not.toMatch(
    /\bimport\s*[({*"'`]|\bfrom\s*["'`]|require\(|node:|grpc|\bBuffer\b|\bprocess\./,
  );
  expect(bundle.length).toBeLessThan(24_000);
});
