package millrace.peers;

import java.util.Arrays;

/**
 * How many different merchants an account met in a window of panes, exact also for windows that end one pane before
 * the newest. For each merchant the caller keeps a visit: the latest pane and the one before it. Here are only counts
 * for each pane: of the merchants met there last, and of those met there before they were met in the newest pane.
 */
final class Merchants {
  private final int kept;
  private int size;
  /** Ascending. */
  private int[] pane = new int[4];
  private int[] latest = new int[4];
  private int[] before = new int[4];

  /** For windows of so many panes. */
  Merchants(int windowPanes) {
    kept = windowPanes + 1;
  }

  Merchants copy() {
    Merchants copy = new Merchants(kept - 1);
    copy.size = size;
    copy.pane = pane.clone();
    copy.latest = latest.clone();
    copy.before = before.clone();
    return copy;
  }

  void clear() {
    size = 0;
  }

  /** Counts a visit in the pane, which is at most one before the newest; answers the merchant's visit from now on. */
  long meet(long visit, int now) {
    begin(now);
    int last = latestPane(visit);
    int earlier = (int) visit;
    if (last < now) {
      change(latest, last, -1);
      change(latest, now, 1);
      if (now == pane[size - 1]) change(before, last, 1);
      return visit(now, last);
    }
    if (last == now || earlier >= now) return visit;
    change(before, earlier, -1);
    change(before, now, 1);
    return visit(last, now);
  }

  /** Different merchants in the window of `panes` panes that ends with the pane `last`. */
  int within(int last, int panes) {
    boolean isNewest = last == pane[size - 1];
    int different = 0;
    for (int at = size - 1; at >= 0 && pane[at] > last - panes; at--) {
      if (pane[at] <= last) different += latest[at] + (isNewest ? 0 : before[at]);
    }
    return different;
  }

  /** Whether no window can see the visit any more. */
  boolean isExpired(long visit) {
    return latestPane(visit) <= pane[size - 1] - kept;
  }

  void write(StateWriter out) {
    out.number(size);
    int previous = 0;
    for (int at = 0; at < size; at++) {
      out.number(pane[at] - previous);
      previous = pane[at];
      out.number(latest[at]);
      out.number(before[at]);
    }
  }

  void read(StateReader in) {
    size = (int) in.number();
    if (pane.length < size) resize(size + 4);
    int previous = 0;
    for (int at = 0; at < size; at++) {
      previous += (int) in.number();
      pane[at] = previous;
      latest[at] = (int) in.number();
      before[at] = (int) in.number();
    }
  }

  private static long visit(int latest, int before) {
    return (long) latest << 32 | before;
  }

  private static int latestPane(long visit) {
    return (int) (visit >>> 32);
  }

  /** Makes sure that the pane is there. A new newest one starts the counts of those before it anew. */
  private void begin(int now) {
    int at = size;
    while (at > 0 && pane[at - 1] > now) at--;
    if (at > 0 && pane[at - 1] == now) return;
    if (at == size) {
      at -= expire(now - kept);
      Arrays.fill(before, 0, size, 0);
    }
    if (size == pane.length) resize(2 * size);
    move(at, at + 1, size - at);
    size++;
    pane[at] = now;
    latest[at] = 0;
    before[at] = 0;
  }

  /** Panes that no window can see any more have no counts. */
  private void change(int[] counts, int wanted, int by) {
    for (int at = size - 1; at >= 0 && pane[at] >= wanted; at--) {
      if (pane[at] == wanted) counts[at] += by;
    }
  }

  /** Drops the panes up to the given one; answers how many. */
  private int expire(int last) {
    int expired = 0;
    while (expired < size && pane[expired] <= last) expired++;
    if (expired > 0) {
      move(expired, 0, size - expired);
      size -= expired;
    }
    return expired;
  }

  private void move(int from, int to, int length) {
    System.arraycopy(pane, from, pane, to, length);
    System.arraycopy(latest, from, latest, to, length);
    System.arraycopy(before, from, before, to, length);
  }

  private void resize(int capacity) {
    pane = Arrays.copyOf(pane, capacity);
    latest = Arrays.copyOf(latest, capacity);
    before = Arrays.copyOf(before, capacity);
  }
}
