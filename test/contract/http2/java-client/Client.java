import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.shaded.io.grpc.netty.NettyChannelBuilder;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** A client of Java's gRPC that knows only bytes: it does each kind of call once and prints what came of it as JSON. */
public final class Client {
  private static final MethodDescriptor.Marshaller<byte[]> BYTES =
      new MethodDescriptor.Marshaller<>() {
        @Override
        public InputStream stream(byte[] value) {
          return new ByteArrayInputStream(value);
        }

        @Override
        public byte[] parse(InputStream stream) {
          try {
            return stream.readAllBytes();
          } catch (IOException error) {
            throw new UncheckedIOException(error);
          }
        }
      };

  private static MethodDescriptor<byte[], byte[]> method(MethodDescriptor.MethodType type, String name) {
    return MethodDescriptor.newBuilder(BYTES, BYTES)
        .setType(type)
        .setFullMethodName("millrace.test.v1.Echo/" + name)
        .build();
  }

  private static byte[] call(ManagedChannel channel, String name, CallOptions options, byte[] request) {
    var unary = method(MethodDescriptor.MethodType.UNARY, name);
    return ClientCalls.blockingUnaryCall(channel, unary, options, request);
  }

  private static Status statusOf(Runnable call) {
    try {
      call.run();
    } catch (StatusRuntimeException error) {
      return error.getStatus();
    }
    throw new AssertionError("the call did not fail");
  }

  public static void main(String[] args) throws Exception {
    ManagedChannel channel =
        NettyChannelBuilder.forAddress("127.0.0.1", Integer.parseInt(args[0]))
            .usePlaintext()
            .maxInboundMessageSize(16 << 20)
            .build();
    byte[] none = {};
    byte[] hello = call(channel, "Unary", CallOptions.DEFAULT, "hello".getBytes());
    Status failure = statusOf(() -> call(channel, "Fail", CallOptions.DEFAULT, none));
    Status late =
        statusOf(() -> call(channel, "Hold", CallOptions.DEFAULT.withDeadlineAfter(50, TimeUnit.MILLISECONDS), none));
    var held = channel.newCall(method(MethodDescriptor.MethodType.UNARY, "Hold"), CallOptions.DEFAULT);
    var future = ClientCalls.futureUnaryCall(held, none);
    Thread.sleep(50);
    future.cancel(true);
    byte[] large =
        call(channel, "Unary", CallOptions.DEFAULT.withCompression("gzip"), new byte[5_000_000]);

    List<String> chat = new ArrayList<>();
    CountDownLatch ended = new CountDownLatch(1);
    var chatting = channel.newCall(method(MethodDescriptor.MethodType.BIDI_STREAMING, "Chat"), CallOptions.DEFAULT);
    StreamObserver<byte[]> requests =
        ClientCalls.asyncBidiStreamingCall(
            chatting,
            new StreamObserver<byte[]>() {
              @Override
              public void onNext(byte[] answer) {
                chat.add('"' + new String(answer) + '"');
              }

              @Override
              public void onError(Throwable error) {
                ended.countDown();
              }

              @Override
              public void onCompleted() {
                ended.countDown();
              }
            });
    for (String text : List.of("a", "b", "c")) requests.onNext(text.getBytes());
    requests.onCompleted();
    ended.await();
    System.out.printf(
        "{\"unary\":\"%s\",\"error\":[%d,\"%s\"],\"deadline\":%d,\"cancelled\":%d,\"large\":%d,\"chat\":%s}%n",
        new String(hello),
        failure.getCode().value(),
        failure.getDescription(),
        late.getCode().value(),
        future.isCancelled() ? 1 : 0,
        large.length,
        chat);
    channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
  }
}
