package millrace.peers;

/** Reads what a StateWriter wrote. */
final class StateReader {
  private final byte[] bytes;
  private int at;

  StateReader(byte[] bytes) {
    this.bytes = bytes;
  }

  long number() {
    byte next = bytes[at++];
    long value = next & 0x7f;
    for (int shift = 7; next < 0; shift += 7) {
      next = bytes[at++];
      value |= (long) (next & 0x7f) << shift;
    }
    return value;
  }

  long fixed() {
    long value = 0;
    for (int shift = 0; shift < 64; shift += 8) value |= (bytes[at++] & 0xffL) << shift;
    return value;
  }
}
