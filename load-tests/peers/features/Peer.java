package millrace.peers;

import java.util.HashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.atomic.LongAdder;

/**
 * What the peers' programs have in common: arguments `--name=value`, credentials from the environment, progress as
 * JSON lines on standard output. The program ends with its standard input, so that none outlives who started it.
 */
public final class Peer {
  private static final Set<String> NAMES = Set.of("brokers", "input", "output", "decimals", "events", "state", "limit-seconds");
  private static final long PROGRESS_MS = 1_000;

  /** Events taken from the input so far, by all threads. */
  public static final LongAdder PROCESSED = new LongAdder();

  private final Map<String, String> arguments = new HashMap<>();

  /** Throws an IllegalArgumentException that names what is missing or unknown. */
  public Peer(String[] args) {
    for (String arg : args) {
      String[] parts = arg.replaceFirst("^--", "").split("=", 2);
      if (parts.length < 2 || !NAMES.contains(parts[0])) {
        throw new IllegalArgumentException(arg + ": expected --NAME=VALUE with a name of " + NAMES);
      }
      arguments.put(parts[0], parts[1]);
    }
    for (String name : NAMES) {
      if (!arguments.containsKey(name)) throw new IllegalArgumentException("--" + name + " is missing");
    }
    daemon("lifeline", this::endWithStandardInput);
    daemon("progress", this::report);
  }

  public String brokers() {
    return arguments.get("brokers");
  }

  public String input() {
    return arguments.get("input");
  }

  public String output() {
    return arguments.get("output");
  }

  public Features.Decimals decimals() {
    return Features.Decimals.valueOf(arguments.get("decimals").toUpperCase());
  }

  /** How many there are in the input topic. */
  public long events() {
    return Long.parseLong(arguments.get("events"));
  }

  /** A folder for state and temporary files. */
  public String state() {
    return arguments.get("state");
  }

  public long limitSeconds() {
    return Long.parseLong(arguments.get("limit-seconds"));
  }

  /** How Kafka's own clients log in: SASL/PLAIN, as KAFKA_USERNAME and KAFKA_PASSWORD say. */
  public static Properties login() {
    Properties login = new Properties();
    login.put("security.protocol", "SASL_PLAINTEXT");
    login.put("sasl.mechanism", "PLAIN");
    login.put(
        "sasl.jaas.config",
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"%s\" password=\"%s\";"
            .formatted(System.getenv("KAFKA_USERNAME"), System.getenv("KAFKA_PASSWORD")));
    return login;
  }

  /** The last line: all is processed and committed. */
  public void done() {
    print("done");
  }

  private void report() throws Exception {
    while (true) {
      Thread.sleep(PROGRESS_MS);
      print("running");
    }
  }

  private void endWithStandardInput() throws Exception {
    while (System.in.read() >= 0) continue;
    Runtime.getRuntime().halt(3);
  }

  private void print(String state) {
    System.out.printf("{\"state\":\"%s\",\"processed\":%d}%n", state, PROCESSED.sum());
  }

  private static void daemon(String name, Work work) {
    Thread thread =
        new Thread(
            () -> {
              try {
                work.run();
              } catch (Exception error) {
                throw new IllegalStateException(name, error);
              }
            },
            name);
    thread.setDaemon(true);
    thread.start();
  }

  private interface Work {
    void run() throws Exception;
  }
}
