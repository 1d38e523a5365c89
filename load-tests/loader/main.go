// Command loader calls one unary gRPC method as hard, or as steadily, as it is told, and says what came of it.
//
// A closed loop (-calls) keeps a number of calls in flight. An open loop (-rate) sends a call whenever one is due,
// whatever becomes of those before it, and counts its latency from the moment it was due, so that a server that stalls
// cannot slow down its own examination (coordinated omission).
//
// main.go reads the options and keeps the time, lane.go keeps calls going over one connection after another,
// connection.go is the client's side of HTTP/2 (RFC 9113), headers.go decodes headers, answer.go looks into answers,
// report.go counts.
//
// SIGTERM ends the load early. It writes one JSON object for each interval to standard error and one for the whole as the last line of standard
// output. Exit codes: 0 it ran, whatever the server answered; 1 it could not start; 2 wrong usage.
package main

import (
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// What the load is. Times count from its start.
type load struct {
	started   time.Time
	address   string
	path      string
	metadata  [][2]string
	messages  [][]byte    // requests, each with its five bytes of gRPC framing, sent in turn
	expected  [][]float32 // by message: the values of its answer's first output; empty where nobody looks
	tolerance float64
	deadline  time.Duration // 0: none
	open      bool          // an open loop
	begin     time.Duration // calls that are due from here on are counted
	end       atomic.Int64  // no call is due from here on; a duration, which SIGTERM shortens
}

func (l *load) now() time.Duration  { return time.Since(l.started) }
func (l *load) ends() time.Duration { return time.Duration(l.end.Load()) }

// Calls that are under way at the end, and have no deadline, are waited for so long.
const patience = 10 * time.Second

// Between two looks at what is due (open loop), or at what is overdue.
const (
	openTick   = 100 * time.Microsecond
	closedTick = 5 * time.Millisecond
)

func main() {
	var messageFiles, expectedFiles, metadata texts
	address := flag.String("address", "", "host:port of the server")
	path := flag.String("path", "", "/package.Service/Method")
	flag.Var(&messageFiles, "message", "file with one request message; several are sent in turn")
	flag.Var(&expectedFiles, "expect", "file with the FP32 values that the message of the same place is to be answered")
	tolerance := flag.Float64("tolerance", 0, "how far an answered value may be from the expected one")
	flag.Var(&metadata, "metadata", "\"name: value\" sent with each call; may be given several times")
	calls := flag.Int("calls", 1, "calls in flight, over all connections (closed loop)")
	rate := flag.Float64("rate", 0, "calls a second (open loop, instead of -calls)")
	connections := flag.Int("connections", 1, "connections to the server")
	warmup := flag.Duration("warmup", 0, "calls of the first so long are not counted")
	duration := flag.Duration("duration", 10*time.Second, "how long calls are counted")
	deadline := flag.Duration("deadline", 0, "a call is given up when it is so old; 0: never")
	interval := flag.Duration("interval", time.Second, "how often figures are said on the way")
	flag.Parse()

	l := &load{
		address:   *address,
		path:      *path,
		tolerance: *tolerance,
		deadline:  *deadline,
		open:      *rate > 0,
		begin:     *warmup,
	}
	l.end.Store(int64(*warmup + *duration))
	switch {
	case *address == "" || !strings.HasPrefix(*path, "/") || len(messageFiles) == 0:
		usage("-address, -path and at least one -message are needed")
	case *connections < 1 || !l.open && *calls < *connections:
		usage("-connections must be from 1 to -calls")
	case *rate < 0 || *warmup < 0 || *duration <= 0 || *deadline < 0 || *interval <= 0:
		usage("-rate, -warmup and -deadline must not be negative, -duration and -interval must be positive")
	case len(expectedFiles) > 0 && len(expectedFiles) != len(messageFiles):
		usage("-expect must be given as often as -message, or not at all")
	}
	for _, one := range metadata {
		name, value, found := strings.Cut(one, ": ")
		if !found {
			usage("-metadata must be \"name: value\"")
		}
		l.metadata = append(l.metadata, [2]string{strings.ToLower(name), value})
	}
	for _, file := range messageFiles {
		l.messages = append(l.messages, framed(read(file)))
	}
	for _, file := range expectedFiles {
		l.expected = append(l.expected, floats(read(file)))
	}

	// Nearly nothing that it makes lives on: a larger heap costs little and saves most of the collector's work.
	debug.SetGCPercent(1_000)

	l.started = time.Now()
	lanes := make([]*lane, *connections)
	for i := range lanes {
		lanes[i] = newLane(l)
		if err := lanes[i].connect(); err != nil {
			fmt.Fprintf(os.Stderr, "loader: %v\n", err)
			os.Exit(1)
		}
	}
	if !l.open {
		for i := range *calls {
			lanes[i%len(lanes)].begin()
		}
	}
	enough := make(chan os.Signal, 1)
	signal.Notify(enough, syscall.SIGTERM)
	go func() {
		<-enough
		l.end.Store(int64(min(l.ends(), l.now())))
	}()
	keepTime(l, lanes, *rate, *interval)
	print(os.Stdout, total(l, lanes))
}

// Sends what is due, gives up what is overdue, and says the figures of each interval, until all calls have ended.
func keepTime(l *load, lanes []*lane, rate float64, interval time.Duration) {
	sent := 0
	nextSaid := l.begin + interval
	for {
		now := l.now()
		if l.open {
			for due := dueAt(sent, rate); due <= now && due < l.ends(); due = dueAt(sent, rate) {
				lanes[sent%len(lanes)].send(due)
				sent++
			}
		}
		outstanding := 0
		for _, lane := range lanes {
			outstanding += lane.tend(now)
		}
		if now >= nextSaid && nextSaid <= l.ends() {
			print(os.Stderr, takeInterval(lanes, nextSaid-l.begin, interval))
			nextSaid += interval
		}
		if now >= l.ends() && (outstanding == 0 || now >= l.ends()+max(l.deadline, patience)) {
			return
		}
		rest(l.open)
	}
}

// When the call of that number is due.
func dueAt(number int, rate float64) time.Duration {
	return time.Duration(float64(number) / rate * float64(time.Second))
}

// Go's own timers round up to milliseconds where nothing else is to be done; an open loop would send in bursts.
func rest(open bool) {
	if !open {
		time.Sleep(closedTick)
		return
	}
	span := syscall.NsecToTimespec(int64(openTick))
	_ = syscall.Nanosleep(&span, nil) // woken by a signal: so much the sooner
}

func framed(message []byte) []byte {
	bytes := make([]byte, 5, 5+len(message))
	binary.BigEndian.PutUint32(bytes[1:], uint32(len(message)))
	return append(bytes, message...)
}

func floats(bytes []byte) []float32 {
	values := make([]float32, len(bytes)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(bytes[4*i:]))
	}
	return values
}

func read(file string) []byte {
	bytes, err := os.ReadFile(file)
	if err != nil {
		fmt.Fprintf(os.Stderr, "loader: %v\n", err)
		os.Exit(1)
	}
	return bytes
}

func print(to *os.File, figures any) {
	line, err := json.Marshal(figures)
	if err != nil {
		panic(err)
	}
	fmt.Fprintf(to, "%s\n", line)
}

func usage(problem string) {
	fmt.Fprintf(os.Stderr, "loader: %s\n", problem)
	flag.Usage()
	os.Exit(2)
}

// An option that may be given several times.
type texts []string

func (t *texts) String() string     { return strings.Join(*t, ", ") }
func (t *texts) Set(s string) error { *t = append(*t, s); return nil }
