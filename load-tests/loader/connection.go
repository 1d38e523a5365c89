package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// What the server may send before it hears from us again: for a stream, more than any answer; for the connection, as
// much as there is, given back each time when so much has come.
const (
	streamWindow     = 1 << 30
	connectionWindow = 1<<31 - 1
	giveBackAt       = 1 << 20
	initialWindow    = 65_535 // RFC 9113, 6.9.2
)

// gRPC statuses that the client gives by itself.
const (
	ok               = 0
	cancelled        = 1
	unknown          = 2
	deadlineExceeded = 4
	exhausted        = 8
	internal         = 13
	unavailable      = 14
)

// One connection of a lane, whose lock guards it. What it sends is collected in `out` until `flush`.
type connection struct {
	lane   *lane
	socket *net.TCPConn
	raw    syscall.RawConn
	reader *bufio.Reader
	framer *http2.Framer

	out     []byte
	writing bool // a goroutine of its own is at it, because the socket was full

	streams  map[uint32]*call
	nextID   uint32
	blocked  []*call // by a window, in the order of their turn
	window   int64   // of the connection, towards the server
	consumed uint32  // received, and not given back to the server yet
	settled  bool    // the server has said its settings: before, nobody knows how many streams it takes
	leaving  bool    // the server wants no new calls on it

	maxFrame     int
	maxStreams   uint32
	streamWindow int64 // of a new stream, towards the server

	decoder *headerDecoder
	block   []byte // of headers that come in pieces
	ends    bool   // whether those headers end their stream
	request []byte // header block of a request, all of it in the server's table
}

// Sends the preface and starts to read. The lane is locked.
func newConnection(l *lane, socket *net.TCPConn) *connection {
	raw, err := socket.SyscallConn()
	if err != nil {
		panic(err)
	}
	c := &connection{
		lane:         l,
		socket:       socket,
		raw:          raw,
		reader:       bufio.NewReaderSize(socket, 256<<10),
		streams:      map[uint32]*call{},
		nextID:       1,
		window:       initialWindow,
		streamWindow: initialWindow,
		maxFrame:     16_384,
		maxStreams:   1<<31 - 1,
		decoder:      newHeaderDecoder(),
	}
	c.framer = http2.NewFramer(c, c.reader)
	c.framer.SetReuseFrames()
	c.out = append(c.out, http2.ClientPreface...)
	c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: streamWindow},
	)
	c.framer.WriteWindowUpdate(0, connectionWindow-initialWindow)
	go c.read()
	return c
}

// The framer writes into `out`.
func (c *connection) Write(frame []byte) (int, error) {
	c.out = append(c.out, frame...)
	return len(frame), nil
}

func (c *connection) hasRoom() bool {
	return c.settled && len(c.streams) < int(c.maxStreams)
}

func (c *connection) open(k *call) {
	k.connection, k.stream, k.window = c, c.nextID, c.streamWindow
	k.unsent = c.lane.load.messages[k.message]
	c.nextID += 2
	c.streams[k.stream] = k
	c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID:      k.stream,
		BlockFragment: c.requestBlock(),
		EndHeaders:    true,
	})
	if !c.sendBody(k) {
		c.blocked = append(c.blocked, k)
	}
}

// The first request puts its headers into the server's table, so that all others are a few bytes and the same bytes.
func (c *connection) requestBlock() []byte {
	if c.request != nil {
		return c.request
	}
	l := c.lane.load
	fields := [][2]string{
		{":method", "POST"}, {":scheme", "http"}, {":path", l.path}, {":authority", l.address},
		{"content-type", "application/grpc"}, {"te", "trailers"}, {"user-agent", "millrace-loader"},
	}
	if l.deadline > 0 {
		fields = append(fields, [2]string{"grpc-timeout", strconv.FormatInt(l.deadline.Microseconds(), 10) + "u"})
	}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encode := func() []byte {
		block.Reset()
		for _, field := range append(fields, l.metadata...) {
			encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
		}
		return slices.Clone(block.Bytes())
	}
	first := encode()
	c.request = encode()
	return first
}

// Sends of a request what the windows let through; answers whether that was all.
func (c *connection) sendBody(k *call) bool {
	for {
		n := min(int64(len(k.unsent)), int64(c.maxFrame), c.window, k.window)
		if n <= 0 {
			return false
		}
		isLast := int(n) == len(k.unsent)
		c.framer.WriteData(k.stream, isLast, k.unsent[:n])
		k.unsent = k.unsent[n:]
		k.window -= n
		c.window -= n
		if isLast {
			return true
		}
	}
}

func (c *connection) sendBlocked() {
	c.blocked = slices.DeleteFunc(c.blocked, func(k *call) bool {
		return k.ended || k.connection != c || c.sendBody(k)
	})
}

func (c *connection) cancel(k *call) {
	c.framer.WriteRSTStream(k.stream, http2.ErrCodeCancel)
	c.close(k)
}

func (c *connection) close(k *call) {
	delete(c.streams, k.stream)
	if c.leaving && len(c.streams) == 0 {
		c.socket.Close()
	}
}

func (c *connection) finish(k *call, status int, message string) {
	c.close(k)
	c.lane.finish(k, status, message)
	c.lane.openWaiting()
}

// Sends what is buffered: at once as far as the socket takes it, the rest by a goroutine. Whoever reads must not wait
// for the socket: a server that is not read may not read either.
func (c *connection) flush() {
	if c.writing || len(c.out) == 0 {
		return
	}
	sent := 0
	c.raw.Write(func(fd uintptr) bool {
		if n, err := syscall.Write(int(fd), c.out); err == nil {
			sent = n
		}
		return true // whatever it took; a broken connection is noticed by its reader
	})
	if sent == len(c.out) {
		c.out = c.out[:0]
		return
	}
	c.out = c.out[sent:]
	c.writing = true
	go c.write()
}

func (c *connection) write() {
	for {
		c.lane.mu.Lock()
		rest := c.out
		c.out = nil
		c.writing = len(rest) > 0
		c.lane.mu.Unlock()
		if len(rest) == 0 {
			return
		}
		if _, err := c.socket.Write(rest); err != nil {
			return
		}
	}
}

func (c *connection) read() {
	for {
		frame, err := c.framer.ReadFrame()
		c.lane.mu.Lock()
		if err == nil {
			err = c.take(frame)
		}
		if err != nil {
			c.fail(err)
			c.lane.mu.Unlock()
			return
		}
		if c.reader.Buffered() == 0 {
			c.flush()
		}
		c.lane.mu.Unlock()
	}
}

// The calls on it end as unavailable.
func (c *connection) fail(err error) {
	c.socket.Close()
	c.lane.replace(c)
	for _, k := range c.streams {
		c.finish(k, unavailable, fmt.Sprintf("the connection ended: %v", err))
	}
}

func (c *connection) take(frame http2.Frame) error {
	k := c.streams[frame.Header().StreamID]
	switch f := frame.(type) {
	case *http2.DataFrame:
		c.giveBack(f.Length)
		if k == nil {
			return nil // of a call that was given up
		}
		c.takeData(k, f)
		if f.StreamEnded() {
			c.finish(k, internal, "the answer ended without trailers")
		}
	case *http2.HeadersFrame:
		return c.takeHeaders(k, f.HeaderBlockFragment(), f.HeadersEnded(), f.StreamEnded())
	case *http2.ContinuationFrame:
		return c.takeHeaders(k, f.HeaderBlockFragment(), f.HeadersEnded(), c.ends)
	case *http2.RSTStreamFrame:
		if k != nil {
			c.finish(k, statusOf(f.ErrCode), fmt.Sprintf("the stream was reset: %v", f.ErrCode))
		}
	case *http2.WindowUpdateFrame:
		if f.StreamID == 0 {
			c.window += int64(f.Increment)
		} else if k != nil {
			k.window += int64(f.Increment)
		}
		c.sendBlocked()
	case *http2.SettingsFrame:
		if !f.IsAck() {
			c.takeSettings(f)
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.framer.WritePing(true, f.Data)
		}
	case *http2.GoAwayFrame:
		c.takeGoAway(f)
	}
	return nil
}

func (c *connection) giveBack(length uint32) {
	c.consumed += length
	if c.consumed >= giveBackAt {
		c.framer.WriteWindowUpdate(0, c.consumed)
		c.consumed = 0
	}
}

func (c *connection) takeHeaders(k *call, fragment []byte, isWhole, endsStream bool) error {
	c.ends = endsStream
	if len(c.block) > 0 || !isWhole {
		c.block = append(c.block, fragment...)
		fragment = c.block
	}
	if !isWhole {
		return nil
	}
	// Also of calls that were given up: the table is the connection's.
	headers, err := c.decoder.decode(fragment)
	if err != nil {
		return err
	}
	c.block = c.block[:0]
	if k != nil && endsStream {
		status, message := headers.outcome()
		c.finish(k, status, message)
	}
	return nil
}

func (c *connection) takeSettings(f *http2.SettingsFrame) {
	f.ForeachSetting(func(setting http2.Setting) error {
		switch setting.ID {
		case http2.SettingMaxFrameSize:
			c.maxFrame = int(setting.Val)
		case http2.SettingMaxConcurrentStreams:
			c.maxStreams = setting.Val
		case http2.SettingInitialWindowSize:
			for _, k := range c.streams {
				k.window += int64(setting.Val) - c.streamWindow
			}
			c.streamWindow = int64(setting.Val)
		}
		return nil
	})
	c.settled = true
	c.framer.WriteSettingsAck()
	c.sendBlocked()
	c.lane.openWaiting()
}

// Calls that the server did not begin are safe to send again (RFC 9113, 6.8); the others may still end here.
func (c *connection) takeGoAway(f *http2.GoAwayFrame) {
	c.leaving = true
	c.lane.figures.goAways++
	c.lane.replace(c)
	for id, k := range c.streams {
		if id > f.LastStreamID {
			delete(c.streams, id)
			k.connection, k.stream, k.answer = nil, 0, nil
			c.lane.waiting = append(c.lane.waiting, k)
		}
	}
	if len(c.streams) == 0 {
		c.socket.Close()
	}
}

// As gRPC over HTTP/2 has it ("HTTP2 error codes to gRPC status codes").
func statusOf(code http2.ErrCode) int {
	switch code {
	case http2.ErrCodeRefusedStream:
		return unavailable
	case http2.ErrCodeCancel:
		return cancelled
	case http2.ErrCodeEnhanceYourCalm:
		return exhausted
	default:
		return internal
	}
}
