import { runService } from "@millrace/runtime";
import { readRegistryConfig } from "./config.ts";
import { buildRegistry } from "./service.ts";
import { wireRegistry } from "./wiring.ts";

await runService("registry", readRegistryConfig, (config, log) => buildRegistry(wireRegistry(config, log)));
