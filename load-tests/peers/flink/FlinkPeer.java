package millrace.peers;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.connector.kafka.source.reader.deserializer.KafkaRecordDeserializationSchema;
import org.apache.flink.core.execution.CheckpointingMode;
import org.apache.flink.core.execution.JobClient;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;

/** The features on Flink: a keyed process function, state on the heap, checkpoints each second, transactions. */
public final class FlinkPeer {
  private static final int PARALLELISM = 2;
  private static final Duration CHECKPOINT_INTERVAL = Duration.ofSeconds(1);
  /** Less than the broker's transaction.max.timeout.ms, which Flink's own default exceeds. */
  private static final int TRANSACTION_MS = 600_000;
  private static final int LINGER_MS = 20;
  private static final int BATCH_BYTES = 256 << 10;

  public static void main(String[] args) throws Exception {
    Peer peer = new Peer(args);
    StreamExecutionEnvironment env = StreamExecutionEnvironment.createLocalEnvironment(PARALLELISM, config(peer));
    env.fromSource(source(peer), WatermarkStrategy.noWatermarks(), "events")
        .keyBy(payment -> payment.account, Types.STRING)
        .process(new FeatureFunction(peer.decimals()))
        .returns(Output.class)
        .sinkTo(sink(peer));
    JobClient job = env.executeAsync();
    job.getJobExecutionResult().get(peer.limitSeconds(), TimeUnit.SECONDS); // the end commits
    if (Peer.PROCESSED.sum() != peer.events()) {
      throw new IllegalStateException(Peer.PROCESSED.sum() + " events processed of " + peer.events());
    }
    peer.done();
    System.exit(0);
  }

  private static Configuration config(Peer peer) {
    Configuration config = new Configuration();
    config.set(StateBackendOptions.STATE_BACKEND, "hashmap");
    config.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, CHECKPOINT_INTERVAL);
    config.set(CheckpointingOptions.CHECKPOINTING_CONSISTENCY_MODE, CheckpointingMode.EXACTLY_ONCE);
    config.set(CheckpointingOptions.CHECKPOINT_STORAGE, "filesystem");
    config.set(CheckpointingOptions.CHECKPOINTS_DIRECTORY, "file://" + peer.state() + "/checkpoints");
    config.set(PipelineOptions.OBJECT_REUSE, true);
    config.set(PipelineOptions.GENERIC_TYPES, false);
    return config;
  }

  /** The events that are in the topic now; then the job ends. */
  private static KafkaSource<Payment> source(Peer peer) {
    return KafkaSource.<Payment>builder()
        .setBootstrapServers(peer.brokers())
        .setProperties(Peer.login())
        .setTopics(peer.input())
        .setGroupId(peer.output())
        .setStartingOffsets(OffsetsInitializer.earliest())
        .setBounded(OffsetsInitializer.latest())
        .setDeserializer(new PaymentDeserializer())
        .build();
  }

  private static KafkaSink<Output> sink(Peer peer) {
    Properties producer = Peer.login();
    producer.put(ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, TRANSACTION_MS);
    producer.put(ProducerConfig.LINGER_MS_CONFIG, LINGER_MS);
    producer.put(ProducerConfig.BATCH_SIZE_CONFIG, BATCH_BYTES);
    return KafkaSink.<Output>builder()
        .setBootstrapServers(peer.brokers())
        .setKafkaProducerConfig(producer)
        .setDeliveryGuarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .setTransactionalIdPrefix(peer.output())
        .setRecordSerializer(new OutputSerializer(peer.output()))
        .build();
  }

  private static final class PaymentDeserializer implements KafkaRecordDeserializationSchema<Payment> {
    private static final long serialVersionUID = 1;

    @Override
    public void deserialize(ConsumerRecord<byte[], byte[]> record, Collector<Payment> out) throws java.io.IOException {
      out.collect(Payment.parse(record.value()));
    }

    @Override
    public TypeInformation<Payment> getProducedType() {
      return Types.POJO(Payment.class);
    }
  }

  private record OutputSerializer(String topic) implements KafkaRecordSerializationSchema<Output> {
    @Override
    public ProducerRecord<byte[], byte[]> serialize(Output output, KafkaSinkContext context, Long timestamp) {
      return new ProducerRecord<>(topic, output.account.getBytes(StandardCharsets.UTF_8), output.json);
    }
  }

  private FlinkPeer() {}
}
