/**
 * Drift: has the world changed under the champion? `harm-detector.ts` raises the alarm once labels show it,
 * with a stated budget of false alarms; `input-shift.ts` describes how features moved, for people.
 */

export * from "./harm-detector.ts";
export * from "./input-shift.ts";
