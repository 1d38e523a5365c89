package millrace.peers;

/**
 * What is kept of one account besides its visits. Windows are made of panes and end with the pane of the event that
 * they are computed for; they count what was processed before.
 */
public final class Account {
  /** Events may be so late; what windows of later ones would need is dropped. */
  private static final long LATE_MS_MAX = 120_000;

  private static final long DAY_MS = 86_400_000;
  private static final int MINUTE_PANES = 12;
  private static final int TEN_MINUTES_PANES = 10;
  private static final int HOUR_PANES = 60;
  private static final int DAY_PANES = 144;

  /** Zero: no event yet. */
  private long newestMs;
  /** The newest event in an earlier pane of ten minutes than the newest one's; zero: none. */
  private long earlierMs;
  private final RecentIds ids;
  private final Panes fiveSeconds;
  private final Panes minutes;
  private final Panes tenMinutes;
  private final Merchants merchants;

  /** One without events. */
  public Account() {
    ids = new RecentIds();
    fiveSeconds = new Panes(5_000, MINUTE_PANES, LATE_MS_MAX);
    minutes = new Panes(60_000, HOUR_PANES, LATE_MS_MAX);
    tenMinutes = new Panes(600_000, DAY_PANES, LATE_MS_MAX);
    merchants = new Merchants(DAY_PANES);
  }

  private Account(Account other) {
    newestMs = other.newestMs;
    earlierMs = other.earlierMs;
    ids = other.ids.copy();
    fiveSeconds = other.fiveSeconds.copy();
    minutes = other.minutes.copy();
    tenMinutes = other.tenMinutes.copy();
    merchants = other.merchants.copy();
  }

  public Account copy() {
    return new Account(this);
  }

  /** Takes the next payment in and computes its features; false for a duplicate, which changes nothing. */
  public boolean process(Payment payment, Visits visits, Features features) throws Exception {
    if (!ids.add(payment.id)) return false;
    long timeMs = payment.timeMs;
    if (timeMs < newestMs - LATE_MS_MAX) {
      throw new IllegalStateException(payment.id + " is late by more than the " + LATE_MS_MAX + " ms that panes are kept for");
    }
    features.previousMs = sincePrevious(timeMs);
    boolean isNextDay = newestMs > 0 && timeMs / DAY_MS > newestMs / DAY_MS;
    remember(timeMs);
    fiveSeconds.add(timeMs, payment.cents);
    minutes.add(timeMs, payment.cents);
    tenMinutes.add(timeMs, payment.cents);
    meet(payment, visits);
    if (isNextDay) visits.removeIf(merchants::isExpired);

    fiveSeconds.window(timeMs, MINUTE_PANES, features.windows[0]);
    minutes.window(timeMs, TEN_MINUTES_PANES, features.windows[1]);
    minutes.window(timeMs, HOUR_PANES, features.windows[2]);
    tenMinutes.window(timeMs, DAY_PANES, features.windows[3]);
    features.merchants = merchants.within(tenMinutes.paneOf(timeMs), DAY_PANES);
    return true;
  }

  /** As bytes for `read`. */
  public byte[] write(StateWriter out) {
    out.number(newestMs);
    out.number(earlierMs);
    ids.write(out);
    fiveSeconds.write(out);
    minutes.write(out);
    tenMinutes.write(out);
    merchants.write(out);
    return out.take();
  }

  /** Becomes the account that was written. */
  public void read(byte[] bytes) {
    StateReader in = new StateReader(bytes);
    newestMs = in.number();
    earlierMs = in.number();
    ids.read(in);
    fiveSeconds.read(in);
    minutes.read(in);
    tenMinutes.read(in);
    merchants.read(in);
  }

  /** Since the newest payment of the day before, none of a later pane counting; negative where there is none. */
  private long sincePrevious(long timeMs) {
    int pane = tenMinutes.paneOf(timeMs);
    long previousMs = pane >= tenMinutes.paneOf(newestMs) ? newestMs : earlierMs;
    boolean isKnown = previousMs != 0 && pane - tenMinutes.paneOf(previousMs) < DAY_PANES;
    return isKnown ? Math.max(0, timeMs - previousMs) : -1;
  }

  private void remember(long timeMs) {
    int pane = tenMinutes.paneOf(timeMs);
    int newestPane = tenMinutes.paneOf(newestMs);
    if (pane > newestPane) earlierMs = newestMs;
    else if (pane < newestPane) earlierMs = Math.max(earlierMs, timeMs);
    newestMs = Math.max(newestMs, timeMs);
  }

  private void meet(Payment payment, Visits visits) throws Exception {
    long visit = visits.get(payment.merchant);
    long now = merchants.meet(visit, tenMinutes.paneOf(payment.timeMs));
    if (now != visit) visits.put(payment.merchant, now);
  }
}
