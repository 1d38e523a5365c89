package millrace.peers;

import java.util.Arrays;

/** State as compact bytes: numbers >= 0 take as many groups of seven bits as they need. */
public final class StateWriter {
  private byte[] bytes = new byte[1_024];
  private int at;

  void number(long value) {
    reserve(10);
    while (value > 0x7f) {
      bytes[at++] = (byte) (value | 0x80);
      value >>>= 7;
    }
    bytes[at++] = (byte) value;
  }

  void fixed(long value) {
    reserve(8);
    for (int shift = 0; shift < 64; shift += 8) bytes[at++] = (byte) (value >>> shift);
  }

  /** What was written since the last call. */
  byte[] take() {
    byte[] taken = Arrays.copyOf(bytes, at);
    at = 0;
    return taken;
  }

  private void reserve(int more) {
    if (at + more > bytes.length) bytes = Arrays.copyOf(bytes, 2 * bytes.length);
  }
}
