import { runService } from "@millrace/runtime";
import { readFeatureConfig } from "./config.ts";
import { wire } from "./wiring.ts";

await runService("feature", readFeatureConfig, wire);
