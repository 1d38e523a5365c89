package millrace.peers;

/** One record of the output topic on its way to the sink: its key and its JSON. */
public final class Output {
  public String account;
  public byte[] json;

  /** For Flink's serializer. */
  public Output() {}

  Output(String account, byte[] json) {
    this.account = account;
    this.json = json;
  }
}
