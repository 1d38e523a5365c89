/**
 * NATS: announcements that may be lost. `announcer.ts` publishes and subscribes over one connection that comes
 * back for ever. Whoever listens must also poll what is announced.
 */

export * from "./announcer.ts";
