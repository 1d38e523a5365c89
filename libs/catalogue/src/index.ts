/** The catalogue: which candidates a run trains. */
export * from "./candidates.ts";
