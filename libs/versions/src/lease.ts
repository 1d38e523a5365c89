/** The right to write for a line. Times are wall-clock ms of whoever keeps the lease. */
export interface Lease {
  readonly holder: string;
  /** Grows by one with each new holder, from 1. */
  readonly epoch: number;
  readonly expiresAtMs: number;
}

/**
 * Asks for a lease. The holder renews it under the same epoch, also after it ran out, as long as nobody else took
 * it; somebody else gets it, under the next epoch, only once it ran out.
 */
export function acquire(
  lease: Lease | null,
  holder: string,
  nowMs: number,
  ttlMs: number,
):
  | { readonly outcome: "granted"; readonly lease: Lease }
  | { readonly outcome: "held"; readonly lease: Lease } {
  const expiresAtMs = nowMs + ttlMs;
  if (lease === null) return { outcome: "granted", lease: { holder, epoch: 1, expiresAtMs } };
  if (lease.holder === holder) return { outcome: "granted", lease: { ...lease, expiresAtMs } };
  if (nowMs < lease.expiresAtMs) return { outcome: "held", lease };
  return { outcome: "granted", lease: { holder, epoch: lease.epoch + 1, expiresAtMs } };
}

/**
 * Whether a write of this epoch is accepted (V4). A lease that ran out still admits its holder: nobody else can
 * have written since.
 */
export function admits(lease: Lease | null, epoch: number): boolean {
  return lease !== null && lease.epoch === epoch;
}
