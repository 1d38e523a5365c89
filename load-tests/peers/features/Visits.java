package millrace.peers;

import java.util.function.LongPredicate;

/** When the account at hand met each merchant, as `Merchants` counts it; kept by the stream processor under test. */
public interface Visits {
  /** The visit of a merchant that the account has not met. */
  long NEVER = 0;

  long get(String merchant) throws Exception;

  void put(String merchant, long visit) throws Exception;

  /** Removes the account's visits that the predicate names. */
  void removeIf(LongPredicate expired) throws Exception;
}
