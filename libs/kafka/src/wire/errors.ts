/** What helps against an error that a broker has answered. */
export type Remedy =
  /** Ask again a little later. */
  | "retry"
  /** The partition's leader or the controller is another one: read the metadata, then ask again. */
  | "refresh"
  /** The group's or the transactional id's coordinator is another one: find it, then ask again. */
  | "coordinator"
  /** Join the group again. */
  | "rejoin"
  /** Somebody else has taken this producer's place: end. */
  | "fenced"
  /** Nothing that a client could do. */
  | "fail";

/** Names by code, from 0 to what Kafka 4.3 knows. */
const NAMES: readonly string[] = [
  "NONE",
  "OFFSET_OUT_OF_RANGE",
  "CORRUPT_MESSAGE",
  "UNKNOWN_TOPIC_OR_PARTITION",
  "INVALID_FETCH_SIZE",
  "LEADER_NOT_AVAILABLE",
  "NOT_LEADER_OR_FOLLOWER",
  "REQUEST_TIMED_OUT",
  "BROKER_NOT_AVAILABLE",
  "REPLICA_NOT_AVAILABLE",
  "MESSAGE_TOO_LARGE",
  "STALE_CONTROLLER_EPOCH",
  "OFFSET_METADATA_TOO_LARGE",
  "NETWORK_EXCEPTION",
  "COORDINATOR_LOAD_IN_PROGRESS",
  "COORDINATOR_NOT_AVAILABLE",
  "NOT_COORDINATOR",
  "INVALID_TOPIC_EXCEPTION",
  "RECORD_LIST_TOO_LARGE",
  "NOT_ENOUGH_REPLICAS",
  "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
  "INVALID_REQUIRED_ACKS",
  "ILLEGAL_GENERATION",
  "INCONSISTENT_GROUP_PROTOCOL",
  "INVALID_GROUP_ID",
  "UNKNOWN_MEMBER_ID",
  "INVALID_SESSION_TIMEOUT",
  "REBALANCE_IN_PROGRESS",
  "INVALID_COMMIT_OFFSET_SIZE",
  "TOPIC_AUTHORIZATION_FAILED",
  "GROUP_AUTHORIZATION_FAILED",
  "CLUSTER_AUTHORIZATION_FAILED",
  "INVALID_TIMESTAMP",
  "UNSUPPORTED_SASL_MECHANISM",
  "ILLEGAL_SASL_STATE",
  "UNSUPPORTED_VERSION",
  "TOPIC_ALREADY_EXISTS",
  "INVALID_PARTITIONS",
  "INVALID_REPLICATION_FACTOR",
  "INVALID_REPLICA_ASSIGNMENT",
  "INVALID_CONFIG",
  "NOT_CONTROLLER",
  "INVALID_REQUEST",
  "UNSUPPORTED_FOR_MESSAGE_FORMAT",
  "POLICY_VIOLATION",
  "OUT_OF_ORDER_SEQUENCE_NUMBER",
  "DUPLICATE_SEQUENCE_NUMBER",
  "INVALID_PRODUCER_EPOCH",
  "INVALID_TXN_STATE",
  "INVALID_PRODUCER_ID_MAPPING",
  "INVALID_TRANSACTION_TIMEOUT",
  "CONCURRENT_TRANSACTIONS",
  "TRANSACTION_COORDINATOR_FENCED",
  "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
  "SECURITY_DISABLED",
  "OPERATION_NOT_ATTEMPTED",
  "KAFKA_STORAGE_ERROR",
  "LOG_DIR_NOT_FOUND",
  "SASL_AUTHENTICATION_FAILED",
  "UNKNOWN_PRODUCER_ID",
  "REASSIGNMENT_IN_PROGRESS",
  "DELEGATION_TOKEN_AUTH_DISABLED",
  "DELEGATION_TOKEN_NOT_FOUND",
  "DELEGATION_TOKEN_OWNER_MISMATCH",
  "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED",
  "DELEGATION_TOKEN_AUTHORIZATION_FAILED",
  "DELEGATION_TOKEN_EXPIRED",
  "INVALID_PRINCIPAL_TYPE",
  "NON_EMPTY_GROUP",
  "GROUP_ID_NOT_FOUND",
  "FETCH_SESSION_ID_NOT_FOUND",
  "INVALID_FETCH_SESSION_EPOCH",
  "LISTENER_NOT_FOUND",
  "TOPIC_DELETION_DISABLED",
  "FENCED_LEADER_EPOCH",
  "UNKNOWN_LEADER_EPOCH",
  "UNSUPPORTED_COMPRESSION_TYPE",
  "STALE_BROKER_EPOCH",
  "OFFSET_NOT_AVAILABLE",
  "MEMBER_ID_REQUIRED",
  "PREFERRED_LEADER_NOT_AVAILABLE",
  "GROUP_MAX_SIZE_REACHED",
  "FENCED_INSTANCE_ID",
  "ELIGIBLE_LEADERS_NOT_AVAILABLE",
  "ELECTION_NOT_NEEDED",
  "NO_REASSIGNMENT_IN_PROGRESS",
  "GROUP_SUBSCRIBED_TO_TOPIC",
  "INVALID_RECORD",
  "UNSTABLE_OFFSET_COMMIT",
  "THROTTLING_QUOTA_EXCEEDED",
  "PRODUCER_FENCED",
  "RESOURCE_NOT_FOUND",
  "DUPLICATE_RESOURCE",
  "UNACCEPTABLE_CREDENTIAL",
  "INCONSISTENT_VOTER_SET",
  "INVALID_UPDATE_VERSION",
  "FEATURE_UPDATE_FAILED",
  "PRINCIPAL_DESERIALIZATION_FAILURE",
  "SNAPSHOT_NOT_FOUND",
  "POSITION_OUT_OF_RANGE",
  "UNKNOWN_TOPIC_ID",
  "DUPLICATE_BROKER_REGISTRATION",
  "BROKER_ID_NOT_REGISTERED",
  "INCONSISTENT_TOPIC_ID",
  "INCONSISTENT_CLUSTER_ID",
  "TRANSACTIONAL_ID_NOT_FOUND",
  "FETCH_SESSION_TOPIC_ID_ERROR",
  "INELIGIBLE_REPLICA",
  "NEW_LEADER_ELECTED",
  "OFFSET_MOVED_TO_TIERED_STORAGE",
  "FENCED_MEMBER_EPOCH",
  "UNRELEASED_INSTANCE_ID",
  "UNSUPPORTED_ASSIGNOR",
  "STALE_MEMBER_EPOCH",
  "MISMATCHED_ENDPOINT_TYPE",
  "UNSUPPORTED_ENDPOINT_TYPE",
  "UNKNOWN_CONTROLLER_ID",
  "UNKNOWN_SUBSCRIPTION_ID",
  "TELEMETRY_TOO_LARGE",
  "INVALID_REGISTRATION",
  "TRANSACTION_ABORTABLE",
  "INVALID_RECORD_STATE",
  "SHARE_SESSION_NOT_FOUND",
  "INVALID_SHARE_SESSION_EPOCH",
  "FENCED_STATE_EPOCH",
  "INVALID_VOTER_KEY",
  "DUPLICATE_VOTER",
  "VOTER_NOT_FOUND",
  "INVALID_REGULAR_EXPRESSION",
  "REBOOTSTRAP_REQUIRED",
  "STREAMS_INVALID_TOPOLOGY",
  "STREAMS_INVALID_TOPOLOGY_EPOCH",
  "STREAMS_TOPOLOGY_FENCED",
  "SHARE_SESSION_LIMIT_REACHED",
];

const REMEDIES: Readonly<Record<Exclude<Remedy, "fail">, readonly string[]>> = {
  retry: [
    "CORRUPT_MESSAGE",
    "REQUEST_TIMED_OUT",
    "COORDINATOR_LOAD_IN_PROGRESS",
    "NOT_ENOUGH_REPLICAS",
    "NOT_ENOUGH_REPLICAS_AFTER_APPEND",
    "CONCURRENT_TRANSACTIONS",
    "FETCH_SESSION_ID_NOT_FOUND",
    "INVALID_FETCH_SESSION_EPOCH",
    "UNKNOWN_LEADER_EPOCH",
    "OFFSET_NOT_AVAILABLE",
    "UNSTABLE_OFFSET_COMMIT",
    "THROTTLING_QUOTA_EXCEEDED",
    "FETCH_SESSION_TOPIC_ID_ERROR",
  ],
  refresh: [
    "UNKNOWN_TOPIC_OR_PARTITION",
    "LEADER_NOT_AVAILABLE",
    "NOT_LEADER_OR_FOLLOWER",
    "BROKER_NOT_AVAILABLE",
    "REPLICA_NOT_AVAILABLE",
    "NETWORK_EXCEPTION",
    "NOT_CONTROLLER",
    "KAFKA_STORAGE_ERROR",
    "LISTENER_NOT_FOUND",
    "FENCED_LEADER_EPOCH",
    "PREFERRED_LEADER_NOT_AVAILABLE",
    "ELIGIBLE_LEADERS_NOT_AVAILABLE",
    "UNKNOWN_TOPIC_ID",
    "INCONSISTENT_TOPIC_ID",
    "NEW_LEADER_ELECTED",
    "REBOOTSTRAP_REQUIRED",
  ],
  coordinator: ["COORDINATOR_NOT_AVAILABLE", "NOT_COORDINATOR"],
  rejoin: [
    "ILLEGAL_GENERATION",
    "INCONSISTENT_GROUP_PROTOCOL",
    "UNKNOWN_MEMBER_ID",
    "REBALANCE_IN_PROGRESS",
    "MEMBER_ID_REQUIRED",
  ],
  fenced: ["INVALID_PRODUCER_EPOCH", "PRODUCER_FENCED"],
};

const REMEDY_OF: ReadonlyMap<string, Remedy> = new Map(
  Object.entries(REMEDIES).flatMap(([remedy, names]) => names.map((name) => [name, remedy as Remedy])),
);

/** A broker has answered with an error code. */
export class KafkaError extends Error {
  readonly code: number;
  /** As Kafka names it, for example `NOT_LEADER_OR_FOLLOWER`. */
  readonly kind: string;
  readonly remedy: Remedy;

  /** `what`: the request and whom it was about. `detail`: the broker's own words. */
  constructor(code: number, what: string, detail: string | null = null) {
    const kind = NAMES[code] ?? (code === -1 ? "UNKNOWN_SERVER_ERROR" : `error ${code}`);
    super(`${what}: Kafka answers ${kind}${detail === null ? "" : ` (${detail})`}`);
    this.name = "KafkaError";
    this.code = code;
    this.kind = kind;
    this.remedy = REMEDY_OF.get(kind) ?? "fail";
  }
}

/** Throws where the code says an error. */
export function checkCode(code: number, what: string, detail: string | null = null): void {
  if (code !== 0) throw new KafkaError(code, what, detail);
}

/** The connection broke, or could not be made, or the broker did not answer in time: what was asked may be done or not. */
export class ConnectionError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "ConnectionError";
  }
}

/** The broker does not let us in with these credentials. */
export class AuthenticationError extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = "AuthenticationError";
  }
}

/** The broker speaks no version of a request that is written here. */
export class UnsupportedVersionError extends Error {
  constructor(message: string) {
    super(message);
    this.name = "UnsupportedVersionError";
  }
}

/** Whether the same request can succeed later. */
export function isRetriable(error: unknown): boolean {
  if (error instanceof ConnectionError) return true;
  return error instanceof KafkaError && ["retry", "refresh", "coordinator"].includes(error.remedy);
}
