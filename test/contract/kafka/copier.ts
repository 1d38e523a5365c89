/** A member of a group that copies a topic, as a process of its own. */
import { type Access, type AdapterName, openClient } from "./adapters.ts";
import { untilBegun } from "./child.ts";

const { adapter, access, ...copying } = await untilBegun<{
  adapter: AdapterName;
  access: Access;
  from: string;
  to: string;
  group: string;
  memory: string;
}>();
const client = openClient(adapter, access);
const onFailed = (error: unknown): void => {
  process.stdout.write(`failed ${String(error)}\n`);
  // The peer starts itself anew.
  if (adapter === "millrace") process.exit(1);
};
const started = client.copy({ ...copying, onFailed });
process.once("SIGTERM", () => {
  void started
    .then((copy) => copy.stop())
    .then(() => client.stop())
    .finally(() => process.exit(0));
});
