import { runService } from "@millrace/runtime";
import { readIngestConfig } from "./config.ts";
import { wire } from "./wiring.ts";

await runService("ingest", readIngestConfig, wire);
