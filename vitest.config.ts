import { defineConfig, type ViteUserConfig } from "vitest/config";

/** Unit and flow tests need nothing; contract, simulation and system tests start real servers and take longer. */
const project = (name: string, include: string[], timeoutMs: number) => ({
  test: { name, include, testTimeout: timeoutMs, hookTimeout: timeoutMs, exclude: ["**/node_modules/**"] },
});

/** A system test fills the machine with a whole mesh: it runs after all others, and with none beside it. */
const alone = ({ test }: ReturnType<typeof project>) => ({
  test: { ...test, maxWorkers: 1, sequence: { groupOrder: 1 } },
});

const seeded = ({ test }: ReturnType<typeof project>) => ({
  test: { ...test, setupFiles: ["./test/property-seed.ts"] },
});

const config: ViteUserConfig = defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      seeded(project("unit", ["{libs,services,lines,deploy,load-tests}/**/*.test.ts"], 30_000)),
      project("architecture", ["test/architecture/**/*.test.ts"], 120_000),
      project("flow", ["test/flow/**/*.test.ts"], 60_000),
      project("simulation", ["test/simulation/**/*.test.ts"], 300_000),
      project("contract", ["test/contract/**/*.test.ts"], 180_000),
      alone(project("system", ["test/system/**/*.test.ts"], 900_000)),
    ],
  },
});

export default config;
