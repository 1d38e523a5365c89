/**
 * Admission: who may enter when there is more to do than can be done. `concurrency.ts` how many calls may be in flight,
 * learnt from how long they take; `budget.ts` how much a caller may ask for per second. Both are plain state machines:
 * the time is an argument.
 */
export * from "./budget.ts";
export * from "./concurrency.ts";
