import { type registryApi as api, LINE_TOPIC_KINDS, lineTopic } from "@millrace/contracts";
import { eventLog, storedLine } from "@millrace/lines";
import { digestOf, integerOf, lineOf, nameOf, oneOf, present, Refusal } from "./request.ts";
import type { BlockRow, LineRow, Store } from "./store.ts";
import { blockMessage, type RegistryHandlers } from "./wire.ts";

/**
 * AddBlock and ListBlocks. The blocks of one partition follow each other without a gap or an overlap, from
 * whatever offset the first one begins with. The same block again is no error: an archiver that was killed after
 * AddBlock and before it noted the answer repeats it.
 */
export function blockHandlers(ports: {
  readonly store: Store;
}): Pick<RegistryHandlers, "addBlock" | "listBlocks"> {
  const { store } = ports;
  return {
    addBlock: async (request) => {
      const block = blockOf(present("block", request.block));
      return await store.transaction(async (tables) => {
        oneOf("topic", block.topic, archivedTopics(await lineOf(tables, block.line)));
        const last = await tables.lastBlock(block.topic, block.partition);
        if (last === null || block.firstOffset === last.nextOffset) {
          await tables.addBlock(block);
          return { nextOffset: BigInt(block.nextOffset) };
        }
        const same = await tables.block(block.topic, block.partition, block.firstOffset);
        if (same?.nextOffset === block.nextOffset && same.digest === block.digest) {
          return { nextOffset: BigInt(last.nextOffset) };
        }
        throw new Refusal(
          "outOfRange",
          `first_offset ${block.firstOffset} of ${block.topic}/${block.partition} is not the next one. ` +
            `Expected offset: ${last.nextOffset}`,
        );
      });
    },

    listBlocks: async (request) => {
      const sinceMs = integerOf("since_time_ms", request.sinceTimeMs, 0);
      const blocks = await store.transaction((tables) => tables.blocks(request.topic, sinceMs));
      return { blocks: blocks.map(blockMessage) };
    },
  };
}

/** The line's own topics, and the producer's where that is the event log. */
function archivedTopics({ name, definitionJson }: LineRow): readonly string[] {
  const log = eventLog(storedLine(definitionJson)).topic;
  return [...LINE_TOPIC_KINDS.map((kind) => lineTopic(name, kind)), log];
}

function blockOf(block: api.Block): BlockRow {
  const line = nameOf("line", block.line);
  const firstOffset = integerOf("first_offset", block.firstOffset, 0);
  const minTimeMs = integerOf("min_time_ms", block.minTimeMs, 0);
  return {
    line,
    topic: block.topic,
    partition: integerOf("partition", block.partition, 0),
    firstOffset,
    nextOffset: integerOf("next_offset", block.nextOffset, firstOffset + 1),
    rows: integerOf("rows", block.rows, 0),
    digest: digestOf("digest", block.digest),
    bytes: integerOf("bytes", block.bytes, 1),
    minTimeMs,
    maxTimeMs: integerOf("max_time_ms", block.maxTimeMs, minTimeMs),
    maxKnownAtMs: integerOf("max_known_at_ms", block.maxKnownAtMs, 0),
  };
}
