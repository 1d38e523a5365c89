package millrace.peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.SerializableString;
import com.fasterxml.jackson.core.StreamWriteFeature;
import com.fasterxml.jackson.core.io.SerializedString;
import java.io.ByteArrayOutputStream;
import java.io.IOException;

/** The features of one payment, and how they are written. One instance is filled again and again. */
public final class Features {
  /** How numbers are written: in full (shortest that reads back the same), or rounded to each feature's decimals. */
  public enum Decimals {
    FULL,
    DECLARED
  }

  static final int WINDOWS = 4;
  private static final String[] WINDOW_NAMES = {"1m", "10m", "1h", "24h"};
  private static final SerializableString ID = new SerializedString("id");
  private static final SerializableString ACCOUNT = new SerializedString("account");
  private static final SerializableString TIME = new SerializedString("time");
  private static final SerializableString[] COUNT = names("count_");
  private static final SerializableString[] SUM = names("sum_");
  private static final SerializableString[] MEAN = names("mean_");
  private static final SerializableString[] MAX = names("max_");
  private static final SerializableString[] STDDEV = names("stddev_");
  private static final SerializableString MERCHANTS = new SerializedString("merchants_24h");
  private static final SerializableString SECONDS = new SerializedString("seconds_since_previous");

  final Panes.Totals[] windows = new Panes.Totals[WINDOWS];
  int merchants;
  /** Negative where there is no previous event. */
  long previousMs;

  private final Decimals decimals;
  private final JsonFactory json = JsonFactory.builder().enable(StreamWriteFeature.USE_FAST_DOUBLE_WRITER).build();
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream(1_024);

  public Features(Decimals decimals) {
    this.decimals = decimals;
    for (int at = 0; at < WINDOWS; at++) windows[at] = new Panes.Totals();
  }

  /** The output event: id, account and time of the payment, then the features by name. */
  public byte[] json(Payment payment) throws IOException {
    bytes.reset();
    try (JsonGenerator out = json.createGenerator(bytes)) {
      out.writeStartObject();
      out.writeFieldName(ID);
      out.writeString(payment.id);
      out.writeFieldName(ACCOUNT);
      out.writeString(payment.account);
      out.writeFieldName(TIME);
      out.writeNumber(payment.timeMs);
      for (int at = 0; at < WINDOWS; at++) {
        Panes.Totals window = windows[at];
        out.writeFieldName(COUNT[at]);
        out.writeNumber(window.count);
        write(out, SUM[at], window.sum(), 2);
        write(out, MEAN[at], window.mean(), 4);
        write(out, MAX[at], window.largest(), 2);
        write(out, STDDEV[at], window.standardDeviation(), 4);
      }
      out.writeFieldName(MERCHANTS);
      out.writeNumber(merchants);
      if (previousMs < 0) {
        out.writeFieldName(SECONDS);
        out.writeNull();
      } else {
        write(out, SECONDS, previousMs / 1_000.0, 3);
      }
      out.writeEndObject();
    }
    return bytes.toByteArray();
  }

  private void write(JsonGenerator out, SerializableString name, double value, int places) throws IOException {
    out.writeFieldName(name);
    if (decimals == Decimals.FULL) {
      out.writeNumber(value);
    } else {
      Rounded.write(out, value, places);
    }
  }

  private static SerializableString[] names(String prefix) {
    SerializableString[] names = new SerializableString[WINDOWS];
    for (int at = 0; at < WINDOWS; at++) names[at] = new SerializedString(prefix + WINDOW_NAMES[at]);
    return names;
  }
}
