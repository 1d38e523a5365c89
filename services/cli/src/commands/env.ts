/** `env`: what a producer or a client of one's own needs to know. */
import type { Context } from "../context.ts";
import type { Result } from "../io.ts";
import type { MeshAddress } from "../mesh.ts";

/** Secrets are shown only when asked for; without them the lines name the file that holds them. */
export async function env(context: Context, showSecrets: boolean): Promise<Result> {
  const address = await context.address();
  const variables = variablesOf(address, showSecrets);
  const kcat = `kcat -F ${address.home}/kcat.conf -P -t flights.departures -K '|'`;
  return {
    json: { home: address.home, variables, kcat, inference: address.inference },
    text: [
      ...Object.entries(variables).map(([name, value]) => `export ${name}=${value}`),
      "",
      "# one event from the shell, key first:",
      `# ${kcat}`,
      "# the inference endpoint (Open Inference Protocol, gRPC):",
      `# ${address.inference}`,
      ...(showSecrets
        ? []
        : ["# secrets are hidden; `npx millrace env --show-secrets` prints them, for `eval` in your shell"]),
    ].join("\n"),
  };
}

const HIDDEN = "(hidden)";

function variablesOf(address: MeshAddress, showSecrets: boolean): Record<string, string> {
  const secret = (value: string): string => (showSecrets ? value : HIDDEN);
  const { kafka, nats, s3 } = address;
  return {
    MILLRACE_KAFKA_BROKERS: kafka.brokers,
    ...(kafka.username !== undefined && { MILLRACE_KAFKA_USERNAME: kafka.username }),
    ...(kafka.password !== undefined && { MILLRACE_KAFKA_PASSWORD: secret(kafka.password) }),
    MILLRACE_NATS_URL: nats.url,
    ...(nats.token !== undefined && { MILLRACE_NATS_TOKEN: secret(nats.token) }),
    MILLRACE_S3_URL: s3.url,
    MILLRACE_S3_ACCESS_KEY: secret(s3.accessKey),
    MILLRACE_S3_SECRET_KEY: secret(s3.secretKey),
    MILLRACE_REGISTRY_URL: address.registry,
    MILLRACE_FEATURE_URL: address.feature,
    MILLRACE_INFERENCE_URL: address.inference,
    MILLRACE_INFERENCE_HTTP_URL: address.inferenceHttp,
    MILLRACE_TOKEN: secret(address.token),
  };
}
