package millrace.peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.function.LongPredicate;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;

/** Events in, features out, JSON both; the state is one record for each account and one for each of its merchants. */
final class FeatureProcessor implements Processor<byte[], byte[], byte[], byte[]> {
  static final String ACCOUNTS = "accounts";
  static final String VISITS = "visits";

  private final Features features;
  private final StateWriter writer = new StateWriter();
  /** Becomes one account after the other. */
  private final Account account = new Account();
  private final byte[] noEvents = account.write(writer);
  private ProcessorContext<byte[], byte[]> context;
  private KeyValueStore<byte[], byte[]> accounts;
  private StoredVisits visits;

  FeatureProcessor(Features.Decimals decimals) {
    features = new Features(decimals);
  }

  @Override
  public void init(ProcessorContext<byte[], byte[]> context) {
    this.context = context;
    accounts = context.getStateStore(ACCOUNTS);
    visits = new StoredVisits(context.getStateStore(VISITS));
  }

  @Override
  public void process(Record<byte[], byte[]> record) {
    try {
      Payment payment = Payment.parse(record.value());
      byte[] key = record.key();
      byte[] stored = accounts.get(key);
      account.read(stored == null ? noEvents : stored);
      visits.account = key;
      if (account.process(payment, visits, features)) {
        accounts.put(key, account.write(writer));
        context.forward(record.withValue(features.json(payment)));
      }
      Peer.PROCESSED.increment();
    } catch (Exception error) {
      throw new IllegalStateException("an event could not be processed", error);
    }
  }

  /** Visits in a store of all accounts; the key is the account, a zero byte and the merchant. */
  private static final class StoredVisits implements Visits {
    private final KeyValueStore<byte[], byte[]> store;
    private byte[] account;

    StoredVisits(KeyValueStore<byte[], byte[]> store) {
      this.store = store;
    }

    @Override
    public long get(String merchant) {
      byte[] stored = store.get(key(merchant));
      return stored == null ? NEVER : ByteBuffer.wrap(stored).getLong();
    }

    @Override
    public void put(String merchant, long visit) {
      store.put(key(merchant), ByteBuffer.allocate(Long.BYTES).putLong(visit).array());
    }

    @Override
    public void removeIf(LongPredicate expired) {
      try (KeyValueIterator<byte[], byte[]> all = store.prefixScan(key(""), new ByteArraySerializer())) {
        while (all.hasNext()) {
          KeyValue<byte[], byte[]> next = all.next();
          if (expired.test(ByteBuffer.wrap(next.value).getLong())) store.delete(next.key);
        }
      }
    }

    private byte[] key(String merchant) {
      byte[] name = merchant.getBytes(StandardCharsets.UTF_8);
      return ByteBuffer.allocate(account.length + 1 + name.length).put(account).put((byte) 0).put(name).array();
    }
  }
}
