package millrace.peers;

import com.fasterxml.jackson.core.JsonGenerator;
import java.io.IOException;

/** Numbers >= 0 with a fixed number of decimals, rounded half up after one multiplication by the power of ten. */
final class Rounded {
  private static final int DIGITS_MAX = 20;
  private static final long[] POWERS = {1, 10, 100, 1_000, 10_000};

  /** `12.3400`, for example. */
  static void write(JsonGenerator out, double value, int places) throws IOException {
    long scaled = Math.round(value * POWERS[places]);
    char[] text = new char[DIGITS_MAX + 1];
    int at = text.length;
    for (int digit = 0; scaled > 0 || digit <= places; digit++) {
      if (digit == places) text[--at] = '.';
      text[--at] = (char) ('0' + scaled % 10);
      scaled /= 10;
    }
    out.writeNumber(text, at, text.length - at);
  }

  private Rounded() {}
}
