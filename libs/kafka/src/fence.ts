import type { Cluster } from "./cluster.ts";
import { patiently } from "./patience.ts";
import type { Api } from "./wire/api.ts";
import { ConnectionError, checkCode, KafkaError } from "./wire/errors.ts";
import { addPartitionsToTxn } from "./wire/messages/add-partitions-to-txn.ts";
import { endTxn } from "./wire/messages/end-txn.ts";
import { initProducerId, type ProducerIdentity } from "./wire/messages/init-producer-id.ts";

/** For how long the empty transaction may stay open; then the coordinator aborts it itself. */
const TRANSACTION_MS = 60_000;

const OPERATION_NOT_ATTEMPTED = 55;

/**
 * Ends the power of every former producer of the transactional id over the partition number of these topics, and
 * answers the new one. Nothing is ever written in a transaction: an empty one is opened and aborted, so that its mark
 * makes each partition's leader refuse all older epochs from then on, those of batches outside of transactions too.
 * The id is taken again afterwards, which waits until the marks are written. Throws a KafkaError with remedy `fenced`
 * when yet another producer comes in between.
 */
export async function fence(
  cluster: Cluster,
  transactionalId: string,
  partition: number,
  topics: readonly string[],
): Promise<ProducerIdentity> {
  const producer = await takeId(cluster, transactionalId, null);
  await ask(
    cluster,
    transactionalId,
    addPartitionsToTxn,
    { transactionalId, producer, topics, partition },
    (answer) => {
      const codes = answer.topics.flatMap(({ name, errorCodes }) =>
        errorCodes.map((code) => ({ name, code })),
      );
      const bad = codes.filter(({ code }) => code !== 0);
      const worst = bad.find(({ code }) => code !== OPERATION_NOT_ATTEMPTED) ?? bad[0];
      if (worst !== undefined)
        checkCode(worst.code, `fencing ${transactionalId} in ${worst.name}/${partition}`);
    },
  );
  await ask(
    cluster,
    transactionalId,
    endTxn,
    { transactionalId, producer, committed: false },
    ({ errorCode }) => {
      checkCode(errorCode, `fencing ${transactionalId}`);
    },
  );
  return takeId(cluster, transactionalId, producer);
}

/**
 * The next epoch of a transactional id. With `current`, only if that is still the newest: else it throws a KafkaError
 * with remedy `fenced`.
 */
export async function takeId(
  cluster: Cluster,
  transactionalId: string,
  current: ProducerIdentity | null,
): Promise<ProducerIdentity> {
  const request = { transactionalId, transactionTimeoutMs: TRANSACTION_MS, current };
  const { producer } = await ask(cluster, transactionalId, initProducerId, request, ({ errorCode }) => {
    checkCode(errorCode, `the producer id of ${transactionalId}`);
  });
  return producer;
}

/** Asks the id's coordinator, wherever it is, until it says yes or no. */
function ask<Q, R>(
  cluster: Cluster,
  transactionalId: string,
  api: Api<Q, R>,
  request: Q,
  check: (answer: R) => void,
): Promise<R> {
  const key = { kind: "transaction", key: transactionalId } as const;
  return patiently(
    `${api.name} of ${transactionalId}`,
    async () => {
      try {
        const connection = await cluster.coordinator(key, "control");
        const answer = await connection.request(api, request);
        check(answer);
        return answer;
      } catch (error) {
        const moved = error instanceof KafkaError && error.remedy === "coordinator";
        if (moved || error instanceof ConnectionError) cluster.forgetCoordinator(key);
        throw error;
      }
    },
    { patienceMs: cluster.patienceMs },
  );
}
