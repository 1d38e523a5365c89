/**
 * An event's values in an array: its time, a 1, and the inputs of its stream's plan. Doubles are passed as places in
 * arrays, since one that is passed to a function by itself is made an object first.
 */
export const TIME = 0;
export const ONE = 1;
export const INPUTS = 2;

/** The condition that every event meets; those of a stream's plan follow. */
export const ALWAYS = 0;
export const CONDITIONS = 1;
