import { startTestServers } from "@millrace/local";
import type { Access } from "./adapters.ts";
import { freePort, Proxy } from "./proxy.ts";

/** A broker of its own, reached straight or through a proxy. */
export interface Servers {
  readonly home: string;
  readonly direct: Access;
  /** Its clients are told the proxy's port by the broker, too. */
  readonly proxied: Access;
  readonly proxy: Proxy;
  readonly pid: () => number;
  stop(): Promise<void>;
}

/** Starts Kafka with a second listener, that it advertises at the port of a proxy before it. */
export async function startServers(
  properties: Readonly<Record<string, string | number>> = {},
): Promise<Servers> {
  const [port, proxyPort] = [await freePort(), await freePort()];
  const servers = await startTestServers({
    kafka: true,
    kafkaProperties: (server) => {
      const { username, password } = server;
      const login = "org.apache.kafka.common.security.plain.PlainLoginModule required";
      const own = `127.0.0.1:${server.port}`;
      return {
        listeners: `CLIENT://${own},PROXIED://127.0.0.1:${port},CONTROLLER://127.0.0.1:${server.controllerPort}`,
        "advertised.listeners": `CLIENT://${own},PROXIED://127.0.0.1:${proxyPort}`,
        "listener.security.protocol.map":
          "CLIENT:SASL_PLAINTEXT,PROXIED:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
        "listener.name.proxied.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.proxied.plain.sasl.jaas.config": `${login} username="${username}" password="${password}" user_${username}="${password}";`,
        ...properties,
      };
    },
  });
  const proxy = new Proxy(port);
  await proxy.listen(proxyPort);
  const { brokers, username = "", password = "" } = servers.kafka;
  const sasl = { username, password };
  return {
    home: servers.home,
    direct: { brokers: [brokers], sasl },
    proxied: { brokers: [`127.0.0.1:${proxyPort}`], sasl },
    proxy,
    pid: () => servers.status().find((one) => one.name === "kafka")?.pid as number,
    stop: async () => {
      await proxy.close();
      await servers.stop();
    },
  };
}
