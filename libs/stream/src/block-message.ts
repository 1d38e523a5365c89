import type { registryApi } from "@millrace/contracts";
import type { Block } from "./archive.ts";

/** A block as the registry sends it. */
export function blockOf(message: registryApi.Block): Block {
  const { line, topic, partition, digest } = message;
  return {
    line,
    topic,
    partition,
    digest,
    firstOffset: Number(message.firstOffset),
    nextOffset: Number(message.nextOffset),
    rows: Number(message.rows),
    bytes: Number(message.bytes),
    minTimeMs: Number(message.minTimeMs),
    maxTimeMs: Number(message.maxTimeMs),
    maxKnownAtMs: Number(message.maxKnownAtMs),
  };
}

/** A block as the registry takes it. */
export function blockMessage(block: Block): Omit<registryApi.Block, "$typeName"> {
  const { line, topic, partition, digest } = block;
  return {
    line,
    topic,
    partition,
    digest,
    firstOffset: BigInt(block.firstOffset),
    nextOffset: BigInt(block.nextOffset),
    rows: BigInt(block.rows),
    bytes: BigInt(block.bytes),
    minTimeMs: BigInt(block.minTimeMs),
    maxTimeMs: BigInt(block.maxTimeMs),
    maxKnownAtMs: BigInt(block.maxKnownAtMs),
  };
}
