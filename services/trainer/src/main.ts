import { runService } from "@millrace/runtime";
import { readTrainerConfig } from "./config.ts";
import { wire } from "./wiring.ts";

await runService("trainer", readTrainerConfig, wire);
