package millrace.peers;

import java.util.Arrays;

/**
 * Count, sum, sum of squares and maximum for each pane of event time in which an account had events; panes without any
 * take no room. Panes are numbered by time divided by their length.
 */
public final class Panes {
  private final long paneMs;
  private final int kept;

  private int size;
  /** Ascending. */
  private int[] pane;
  private int[] count;
  private long[] cents;
  private long[] squares;
  private long[] max;

  /** Keeps what windows of so many panes need that end up to `lateMs` before the newest event. */
  Panes(long paneMs, int windowPanes, long lateMs) {
    this.paneMs = paneMs;
    this.kept = windowPanes + (int) ((lateMs + paneMs - 1) / paneMs);
    allocate(4);
  }

  private Panes(Panes other) {
    paneMs = other.paneMs;
    kept = other.kept;
    size = other.size;
    pane = other.pane.clone();
    count = other.count.clone();
    cents = other.cents.clone();
    squares = other.squares.clone();
    max = other.max.clone();
  }

  Panes copy() {
    return new Panes(this);
  }

  int paneOf(long timeMs) {
    return (int) Math.floorDiv(timeMs, paneMs);
  }

  void add(long timeMs, long amount) {
    int at = slot(paneOf(timeMs));
    count[at]++;
    cents[at] += amount;
    squares[at] += amount * amount;
    max[at] = Math.max(max[at], amount);
  }

  /** Into `totals`: the window of `panes` panes that ends with the pane of `timeMs`. */
  void window(long timeMs, int panes, Totals totals) {
    int last = paneOf(timeMs);
    long n = 0;
    long sum = 0;
    long sumOfSquares = 0;
    long most = 0;
    for (int at = size - 1; at >= 0 && pane[at] > last - panes; at--) {
      if (pane[at] > last) continue;
      n += count[at];
      sum += cents[at];
      sumOfSquares += squares[at];
      most = Math.max(most, max[at]);
    }
    totals.count = n;
    totals.cents = sum;
    totals.squares = sumOfSquares;
    totals.max = most;
  }

  /** Panes as differences; of a pane with one event the rest follows from its amount. */
  void write(StateWriter out) {
    out.number(size);
    int previous = 0;
    for (int at = 0; at < size; at++) {
      out.number(pane[at] - previous);
      previous = pane[at];
      out.number(count[at]);
      out.number(cents[at]);
      if (count[at] > 1) {
        out.number(squares[at]);
        out.number(max[at]);
      }
    }
  }

  void read(StateReader in) {
    size = (int) in.number();
    if (pane.length < size) allocate(size + 4);
    int previous = 0;
    for (int at = 0; at < size; at++) {
      previous += (int) in.number();
      pane[at] = previous;
      count[at] = (int) in.number();
      long sum = in.number();
      cents[at] = sum;
      boolean one = count[at] == 1;
      squares[at] = one ? sum * sum : in.number();
      max[at] = one ? sum : in.number();
    }
  }

  /** The pane's index; a new pane is inserted, and a new last one drops those that no window needs any more. */
  private int slot(int wanted) {
    int at = size;
    while (at > 0 && pane[at - 1] > wanted) at--;
    if (at > 0 && pane[at - 1] == wanted) return at - 1;
    if (at == size) at -= expire(wanted - kept);
    if (size == pane.length) resize(2 * size);
    move(at, at + 1, size - at);
    size++;
    pane[at] = wanted;
    count[at] = 0;
    cents[at] = 0;
    squares[at] = 0;
    max[at] = 0;
    return at;
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
    System.arraycopy(count, from, count, to, length);
    System.arraycopy(cents, from, cents, to, length);
    System.arraycopy(squares, from, squares, to, length);
    System.arraycopy(max, from, max, to, length);
  }

  private void allocate(int capacity) {
    pane = new int[capacity];
    count = new int[capacity];
    cents = new long[capacity];
    squares = new long[capacity];
    max = new long[capacity];
  }

  private void resize(int capacity) {
    pane = Arrays.copyOf(pane, capacity);
    count = Arrays.copyOf(count, capacity);
    cents = Arrays.copyOf(cents, capacity);
    squares = Arrays.copyOf(squares, capacity);
    max = Arrays.copyOf(max, capacity);
  }

  /** One window. */
  static final class Totals {
    long count;
    long cents;
    long squares;
    long max;

    double sum() {
      return cents / 100.0;
    }

    double mean() {
      return (double) cents / (count * 100);
    }

    double largest() {
      return max / 100.0;
    }

    /** Of the population; exact up to the root. Throws an ArithmeticException where n * S2 reaches 2^63. */
    double standardDeviation() {
      long difference = Math.multiplyExact(count, squares) - Math.multiplyExact(cents, cents);
      return Math.sqrt((double) difference) / count / 100;
    }
  }
}
