import { runService } from "@millrace/runtime";
import { readInferenceConfig } from "./config.ts";
import { wire } from "./wiring.ts";

await runService("inference", readInferenceConfig, wire);
