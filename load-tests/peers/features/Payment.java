package millrace.peers;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;

/** What the features need of one event. A plain mutable object with public fields, as Flink's POJO serializer asks. */
public final class Payment {
  public String id;
  public String account;
  public String merchant;
  public long cents;
  /** Event time in ms since the epoch. */
  public long timeMs;

  private static final JsonFactory JSON = new JsonFactory();

  /** Reads an event's JSON, its fields in any order; fields that are not needed are skipped. */
  public static Payment parse(byte[] json) throws IOException {
    Payment payment = new Payment();
    try (JsonParser parser = JSON.createParser(json)) {
      parser.nextToken();
      for (String field = parser.nextFieldName(); field != null; field = parser.nextFieldName()) {
        parser.nextToken();
        switch (field) {
          case "id" -> payment.id = parser.getText();
          case "account" -> payment.account = parser.getText();
          case "merchant" -> payment.merchant = parser.getText();
          case "amount" -> payment.cents = cents(parser);
          case "time" -> payment.timeMs = parser.getLongValue();
          default -> parser.skipChildren();
        }
      }
    }
    return payment;
  }

  /** A number with at most two decimals as whole hundredths, without a detour over doubles. */
  private static long cents(JsonParser parser) throws IOException {
    if (parser.currentToken() == JsonToken.VALUE_NUMBER_INT) return parser.getLongValue() * 100;
    char[] text = parser.getTextCharacters();
    int end = parser.getTextOffset() + parser.getTextLength();
    long value = 0;
    int decimals = -1;
    for (int at = parser.getTextOffset(); at < end; at++) {
      char c = text[at];
      if (c == '.') {
        decimals = 0;
      } else if (c >= '0' && c <= '9' && decimals < 2) {
        value = value * 10 + (c - '0');
        if (decimals >= 0) decimals++;
      } else {
        throw new IOException("amount " + parser.getText() + ": expected a number >= 0 with at most two decimals");
      }
    }
    return decimals == 1 ? value * 10 : value;
  }
}
