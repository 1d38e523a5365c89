package millrace.peers;

import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/** The features on Kafka Streams: Processor API, RocksDB with a record cache, changelogs, exactly_once_v2. */
public final class KafkaStreamsPeer {
  private static final long CACHE_BYTES = 256L << 20;
  private static final int COMMIT_MS = 100;
  private static final int THREADS = 2;
  private static final long POLL_MS = 20;
  private static final int BATCH_BYTES = 256 << 10;

  public static void main(String[] args) throws Exception {
    Peer peer = new Peer(args);
    AtomicReference<Throwable> failure = new AtomicReference<>();
    try (KafkaStreams streams = new KafkaStreams(topology(peer), config(peer))) {
      streams.setUncaughtExceptionHandler(
          error -> {
            failure.set(error);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
          });
      streams.start();
      long untilMs = System.currentTimeMillis() + 1_000 * peer.limitSeconds();
      while (Peer.PROCESSED.sum() < peer.events()) {
        if (failure.get() != null) throw new IllegalStateException("Kafka Streams failed", failure.get());
        if (System.currentTimeMillis() > untilMs) throw new IllegalStateException("not finished in time");
        Thread.sleep(POLL_MS);
      }
    } // closing commits
    peer.done();
    System.exit(0);
  }

  private static Topology topology(Peer peer) {
    return new Topology()
        .addSource("events", peer.input())
        .addProcessor("features", () -> new FeatureProcessor(peer.decimals()), "events")
        .addStateStore(store(FeatureProcessor.ACCOUNTS).withCachingEnabled(), "features")
        .addStateStore(store(FeatureProcessor.VISITS), "features")
        .addSink("outputs", peer.output(), "features");
  }

  private static StoreBuilder<KeyValueStore<byte[], byte[]>> store(String name) {
    return Stores.keyValueStoreBuilder(
        Stores.persistentKeyValueStore(name), Serdes.ByteArray(), Serdes.ByteArray());
  }

  private static Properties config(Peer peer) {
    Properties config = Peer.login();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, peer.output());
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, peer.brokers());
    config.put(StreamsConfig.STATE_DIR_CONFIG, peer.state());
    config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, THREADS);
    config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
    config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, COMMIT_MS);
    config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, CACHE_BYTES);
    config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
    config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
    config.put(StreamsConfig.consumerPrefix(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG), "earliest");
    config.put(StreamsConfig.producerPrefix(ProducerConfig.BATCH_SIZE_CONFIG), BATCH_BYTES);
    return config;
  }

  private KafkaStreamsPeer() {}
}
