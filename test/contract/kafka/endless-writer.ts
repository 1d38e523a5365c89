/** Writes numbers to a topic under a name without end, as a process of its own. */
import { setTimeout as sleep } from "node:timers/promises";
import { type Access, type AdapterName, openClient } from "./adapters.ts";
import { untilBegun } from "./child.ts";

const { adapter, access, topic, name } = await untilBegun<{
  adapter: AdapterName;
  access: Access;
  topic: string;
  name: string;
}>();
const writer = await openClient(adapter, access).writer(topic, name);
for (let i = 0; ; i += 20) {
  const values = Array.from({ length: 20 }, (_, k) => `child ${i + k}`);
  try {
    await writer.write(values);
  } catch (error) {
    process.stdout.write(`refused ${(error as Error).name}\n`);
    process.exit(0);
  }
  process.stdout.write(`wrote ${i + 20}\n`);
  await sleep(5);
}
