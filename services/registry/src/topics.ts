import { lineTopics, MESH_TOPICS, sourceTopic, type TopicSpec } from "@millrace/contracts";
import { isServedOnly, type LineDefinition, storedLine } from "@millrace/lines";
import { type Log, sleep, withDeadline } from "@millrace/runtime";
import type { Broker } from "@millrace/stream";
import { Refusal } from "./request.ts";
import type { Store } from "./store.ts";

/** Less than a caller waits, so that it gets the reason and not its own deadline. */
const DEADLINE_MS = 8_000;
const RETRY_MS = 1_000;

/** All topics of a line, those of its producers included. Without streams, only inference writes. */
function topicsOf(line: LineDefinition): readonly TopicSpec[] {
  const own = lineTopics(line.name);
  if (isServedOnly(line)) return own.filter(({ owner }) => owner.startsWith("inference/"));
  return [...Object.values(line.streams).map((stream) => sourceTopic(stream.topic)), ...own];
}

/**
 * Creates the topics of a line that are missing. Refuses (unavailable) when Kafka is away, and (failedPrecondition)
 * when a topic exists with another number of partitions: partition p of every topic belongs together.
 */
export async function ensureLineTopics(broker: Broker, line: LineDefinition): Promise<void> {
  const topics = topicsOf(line);
  const counts = await withDeadline(
    DEADLINE_MS,
    "creating the topics",
    (async () => {
      await broker.ensureTopics(topics, line.partitions);
      return await Promise.all(topics.map(async ({ name }) => (await broker.offsets(name)).length));
    })(),
  ).catch((error: unknown) => {
    throw new Refusal(
      "unavailable",
      `the topics of line "${line.name}" could not be created: ${(error as Error).message}. ` +
        "Start Kafka or correct MILLRACE_KAFKA_BROKERS of the registry, then apply the line again",
      { cause: error },
    );
  });
  topics.forEach(({ name }, i) => {
    if (counts[i] === line.partitions) return;
    throw new Refusal(
      "failedPrecondition",
      `topic ${name} has ${counts[i]} partitions, line "${line.name}" has ${line.partitions}. ` +
        "Set `partitions` to the topic's number, or use another topic",
    );
  });
}

/** Creates the topics of the mesh and of every applied line; tries again until it works or the signal aborts. */
export async function ensureAllTopics(
  broker: Broker,
  store: Store,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  for (let attempt = 1; !signal.aborted; attempt++) {
    try {
      await broker.ensureTopics(Object.values(MESH_TOPICS), 1);
      for (const { definitionJson } of await store.transaction((tables) => tables.lines())) {
        const line = storedLine(definitionJson);
        await broker.ensureTopics(topicsOf(line), line.partitions);
      }
      log.info("topics are there");
      return;
    } catch (error) {
      if (attempt === 1 && !signal.aborted) log.warn({ err: error }, "topics wait for Kafka");
      await sleep(RETRY_MS, signal);
    }
  }
}
