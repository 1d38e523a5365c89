package millrace.peers;

import java.io.IOException;
import org.apache.flink.api.common.typeutils.SimpleTypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.TypeSerializerSnapshot;
import org.apache.flink.api.common.typeutils.base.TypeSerializerSingleton;
import org.apache.flink.core.memory.DataInputView;
import org.apache.flink.core.memory.DataOutputView;

/** Accounts in Flink's state: objects on the heap, and the bytes of `Account.write` in a checkpoint. */
public final class AccountSerializer extends TypeSerializerSingleton<Account> {
  private static final long serialVersionUID = 1;
  static final AccountSerializer INSTANCE = new AccountSerializer();

  @Override
  public boolean isImmutableType() {
    return false;
  }

  @Override
  public Account createInstance() {
    return new Account();
  }

  @Override
  public Account copy(Account account) {
    return account.copy();
  }

  @Override
  public Account copy(Account account, Account reuse) {
    return account.copy();
  }

  @Override
  public int getLength() {
    return -1;
  }

  @Override
  public void serialize(Account account, DataOutputView target) throws IOException {
    byte[] bytes = account.write(new StateWriter());
    target.writeInt(bytes.length);
    target.write(bytes);
  }

  @Override
  public Account deserialize(DataInputView source) throws IOException {
    byte[] bytes = new byte[source.readInt()];
    source.readFully(bytes);
    Account account = new Account();
    account.read(bytes);
    return account;
  }

  @Override
  public Account deserialize(Account reuse, DataInputView source) throws IOException {
    return deserialize(source);
  }

  @Override
  public void copy(DataInputView source, DataOutputView target) throws IOException {
    int length = source.readInt();
    target.writeInt(length);
    target.write(source, length);
  }

  @Override
  public TypeSerializerSnapshot<Account> snapshotConfiguration() {
    return new Snapshot();
  }

  /** Named in every checkpoint, so that a restored job finds the serializer again. */
  public static final class Snapshot extends SimpleTypeSerializerSnapshot<Account> {
    public Snapshot() {
      super(() -> INSTANCE);
    }
  }
}
