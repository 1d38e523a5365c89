import { sleep } from "@millrace/runtime";
import type { StreamRecord } from "@millrace/stream";
import type { Cluster } from "./cluster.ts";
import { patiently } from "./patience.ts";
import { Position } from "./position.ts";
import type { Decoded } from "./wire/decode-batches.ts";
import { ConnectionError, checkCode, KafkaError } from "./wire/errors.ts";
import { fetch } from "./wire/messages/fetch.ts";

const WAIT_MS = 100;
/** A topic that the brokers do not know may have been made a moment ago; after this it is taken for missing. */
const UNKNOWN_TOPIC_MS = 5_000;

/** The committed records of a partition from one offset up to, not including, another. */
export async function* readPartition(
  cluster: Cluster,
  topic: string,
  partition: number,
  from: number,
  until: number,
): AsyncIterable<readonly StreamRecord[]> {
  if (from >= until) return;
  const known = await patiently(
    `partition ${topic}/${partition}`,
    () => cluster.lookUpPartition(topic, partition),
    { patienceMs: UNKNOWN_TOPIC_MS },
  );
  const lane = cluster.openLane();
  const position = new Position(known, partition, from);
  try {
    while (position.offset < until) {
      const before = position.offset;
      const { records } = await patiently(
        `reading ${position.name}`,
        async () => {
          try {
            return await fetchOnce(cluster, lane, position);
          } catch (error) {
            if (
              error instanceof ConnectionError ||
              (error instanceof KafkaError && error.remedy === "refresh")
            ) {
              await cluster.refresh([topic]);
              position.check(cluster);
            }
            throw error;
          }
        },
        { patienceMs: cluster.patienceMs },
      );
      // The end may be that of a transaction that is still open: it is waited for.
      if (position.offset === before) await sleep(WAIT_MS);
      const wanted = position.offset <= until ? records : records.filter((record) => record.offset < until);
      if (wanted.length > 0) yield wanted;
    }
  } finally {
    cluster.closeLane(lane);
  }
}

async function fetchOnce(
  cluster: Cluster,
  lane: ReturnType<Cluster["openLane"]>,
  position: Position,
): Promise<Decoded> {
  const { topic, partition, bytesMax } = position;
  const request = { maxWaitMs: WAIT_MS, bytesMin: 1, bytesMax, partitions: [position.asked()] };
  const answer = await cluster.leader(topic.name, partition, lane).request(fetch, request);
  checkCode(answer.errorCode, `reading ${position.name}`);
  const [fetched] = answer.partitions;
  if (fetched === undefined)
    throw new KafkaError(NETWORK_EXCEPTION, `${position.name} is missing in the answer`);
  return position.take(fetched, cluster);
}

const NETWORK_EXCEPTION = 13;
