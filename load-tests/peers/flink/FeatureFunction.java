package millrace.peers;

import java.util.Iterator;
import java.util.Map;
import java.util.function.LongPredicate;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.state.MapState;
import org.apache.flink.api.common.state.MapStateDescriptor;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.api.common.typeinfo.Types;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;

/** Payments of one account after the other in, outputs as JSON out; the state is an account and a map of its merchants. */
final class FeatureFunction extends KeyedProcessFunction<String, Payment, Output> {
  private static final long serialVersionUID = 1;

  private final Features.Decimals decimals;
  private transient Features features;
  private transient ValueState<Account> accounts;
  private transient MapVisits visits;

  FeatureFunction(Features.Decimals decimals) {
    this.decimals = decimals;
  }

  @Override
  public void open(OpenContext context) {
    features = new Features(decimals);
    accounts = getRuntimeContext().getState(new ValueStateDescriptor<>("accounts", AccountSerializer.INSTANCE));
    visits = new MapVisits(getRuntimeContext().getMapState(new MapStateDescriptor<>("visits", Types.STRING, Types.LONG)));
  }

  @Override
  public void processElement(Payment payment, Context context, Collector<Output> out) throws Exception {
    Account account = accounts.value();
    if (account == null) account = new Account();
    if (account.process(payment, visits, features)) {
      accounts.update(account);
      out.collect(new Output(payment.account, features.json(payment)));
    }
    Peer.PROCESSED.increment();
  }

  private record MapVisits(MapState<String, Long> state) implements Visits {
    @Override
    public long get(String merchant) throws Exception {
      Long visit = state.get(merchant);
      return visit == null ? NEVER : visit;
    }

    @Override
    public void put(String merchant, long visit) throws Exception {
      state.put(merchant, visit);
    }

    @Override
    public void removeIf(LongPredicate expired) throws Exception {
      for (Iterator<Map.Entry<String, Long>> all = state.iterator(); all.hasNext(); ) {
        if (expired.test(all.next().getValue())) all.remove();
      }
    }
  }
}
