// A client of Go's gRPC that knows only bytes: it does each kind of call once and prints what came of it as JSON.
package main

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(data []byte, v any) error { *v.(*[]byte) = append([]byte{}, data...); return nil }
func (bytesCodec) Name() string                       { return "proto" }

const service = "/millrace.test.v1.Echo/"

func main() {
	conn, err := grpc.NewClient("passthrough:///127.0.0.1:"+os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(bytesCodec{}), grpc.MaxCallRecvMsgSize(16<<20)))
	check(err)
	defer conn.Close()
	call := func(timeout time.Duration, method string, request []byte) ([]byte, error) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		var response []byte
		err := conn.Invoke(ctx, service+method, &request, &response)
		return response, err
	}

	hello, err := call(10*time.Second, "Unary", []byte("hello"))
	check(err)
	_, failure := call(10*time.Second, "Fail", nil)
	_, late := call(50*time.Millisecond, "Hold", nil)
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(50*time.Millisecond, cancel)
	none := []byte{}
	cancelled := conn.Invoke(ctx, service+"Hold", &none, &none)
	large, err := call(30*time.Second, "Unary", make([]byte, 5_000_000))
	check(err)

	stream, err := conn.NewStream(context.Background(), &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, service+"Chat")
	check(err)
	chat := []string{}
	for _, text := range []string{"a", "b", "c"} {
		message := []byte(text)
		check(stream.SendMsg(&message))
		check(stream.RecvMsg(&message))
		chat = append(chat, string(message))
	}
	check(stream.CloseSend())

	check(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"unary":     string(hello),
		"error":     []any{status.Code(failure), status.Convert(failure).Message()},
		"deadline":  status.Code(late),
		"cancelled": status.Code(cancelled),
		"large":     len(large),
		"chat":      chat,
	}))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
