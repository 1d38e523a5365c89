/** Records were deleted before they were read: retention is shorter than the consumer was away. */
export class RecordsLostError extends Error {
  constructor(topic: string, partition: number, expected: number, found: number) {
    super(
      `${topic}/${partition}: records ${expected} to ${found - 1} are gone before they were read: ` +
        "raise retention.ms of the topic, then remove the step's checkpoint to accept the loss",
    );
    this.name = "RecordsLostError";
  }
}

/** The partition ends before the position: it was made anew, or an unclean election has cut it. */
export class LogTruncatedError extends Error {
  constructor(topic: string, partition: number, expected: number, end: number) {
    super(
      `${topic}/${partition} ends at ${end}, before offset ${expected} that was read up to: the topic was made anew, ` +
        "or records were lost in an unclean election; remove the step's checkpoint to begin again",
    );
    this.name = "LogTruncatedError";
  }
}
