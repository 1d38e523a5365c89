package millrace.peers;

/**
 * The ids of an account's last events, as hashes of 64 bits: an event whose id is among them is a duplicate. Of 200
 * consecutive events the busiest account has about 12, so that 32 are enough.
 */
final class RecentIds {
  private static final int KEPT = 32;

  private final long[] hashes;
  private int size;
  /** Where the next one goes. */
  private int next;

  RecentIds() {
    hashes = new long[KEPT];
  }

  private RecentIds(RecentIds other) {
    hashes = other.hashes.clone();
    size = other.size;
    next = other.next;
  }

  RecentIds copy() {
    return new RecentIds(this);
  }

  void clear() {
    size = 0;
    next = 0;
  }

  /** Remembers the id; false when it is there already. */
  boolean add(String id) {
    long hash = hash(id);
    for (int at = 0; at < size; at++) {
      if (hashes[at] == hash) return false;
    }
    hashes[next] = hash;
    next = (next + 1) % KEPT;
    size = Math.min(size + 1, KEPT);
    return true;
  }

  void write(StateWriter out) {
    out.number(size);
    out.number(next);
    for (int at = 0; at < size; at++) out.fixed(hashes[at]);
  }

  void read(StateReader in) {
    size = (int) in.number();
    next = (int) in.number();
    for (int at = 0; at < size; at++) hashes[at] = in.fixed();
  }

  /** FNV-1a, 64 bits, over UTF-16 code units. */
  private static long hash(String id) {
    long hash = 0xcbf29ce484222325L;
    for (int at = 0; at < id.length(); at++) hash = (hash ^ id.charAt(at)) * 0x100000001b3L;
    return hash;
  }
}
