package main

import (
	"net"
	"sync"
	"time"
)

// Before the server is tried again, when it could not be reached.
const pause = 20 * time.Millisecond

// A call, from the moment it is due. The lane's lock guards it.
type call struct {
	due     time.Duration
	message int
	ended   bool

	connection *connection // nil while it waits for one
	stream     uint32
	unsent     []byte  // what the windows did not let through yet
	window     int64   // of its stream, towards the server
	answer     []byte  // so far, of an answer that comes in pieces
	verdict    verdict // on the answer
}

// A lane keeps calls going over one connection, and makes a new one when that ends.
type lane struct {
	load *load

	mu          sync.Mutex
	current     *connection // takes new calls; nil while there is none
	waiting     []*call     // for a connection or a stream of it
	byDue       []*call     // kept only where calls have a deadline
	outstanding int
	next        int // of the messages
	figures     figures
}

func newLane(l *load) *lane {
	return &lane{load: l, figures: newFigures()}
}

// Makes the connection that takes new calls.
func (l *lane) connect() error {
	socket, err := net.Dial("tcp", l.load.address)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.figures.connections++
	l.current = newConnection(l, socket.(*net.TCPConn))
	l.openWaiting()
	l.current.flush()
	return nil
}

// Makes another connection where this one took new calls: it has failed, or the server wants to be rid of it.
func (l *lane) replace(c *connection) {
	if l.current != c {
		return
	}
	l.current = nil
	go func() {
		for l.load.now() < l.load.ends() && l.connect() != nil {
			time.Sleep(pause)
		}
	}()
}

// Begins one call of a closed loop, which is followed by another when it ends.
func (l *lane) begin() {
	l.send(l.load.now())
}

// Sends the call that was due then.
func (l *lane) send(due time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.submit(due)
}

func (l *lane) submit(due time.Duration) {
	k := &call{due: due, message: l.next}
	l.next = (l.next + 1) % len(l.load.messages)
	l.outstanding++
	if l.load.deadline > 0 {
		l.byDue = append(l.byDue, k)
	}
	l.waiting = append(l.waiting, k)
	l.openWaiting()
}

// Opens streams for those that wait, as far as the server allows.
func (l *lane) openWaiting() {
	for len(l.waiting) > 0 && l.current != nil && l.current.hasRoom() {
		k := l.waiting[0]
		l.waiting = l.waiting[1:]
		if !k.ended {
			l.current.open(k)
		}
	}
}

// Counts a call that has ended; in a closed loop the next one follows at once.
func (l *lane) finish(k *call, status int, message string) {
	now := l.load.now()
	k.ended = true
	l.outstanding--
	if k.due >= l.load.begin && k.due < l.load.ends() {
		l.figures.count(now-k.due, status, message, k.verdict)
	} else if status == ok {
		l.figures.uncounted++
	}
	if !l.load.open && now < l.load.ends() {
		l.submit(now)
	}
}

// Sends what is buffered and gives up what is overdue; answers how many calls are under way.
func (l *lane) tend(now time.Duration) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.load.deadline > 0 {
		l.giveUp(now)
	}
	if l.current != nil {
		l.current.flush()
	}
	return l.outstanding
}

func (l *lane) giveUp(now time.Duration) {
	overdue := 0
	for overdue < len(l.byDue) && (l.byDue[overdue].ended || l.byDue[overdue].due+l.load.deadline <= now) {
		overdue++
	}
	given := l.byDue[:overdue]
	l.byDue = l.byDue[overdue:]
	for _, k := range given {
		if k.ended {
			continue
		}
		if k.connection != nil {
			k.connection.cancel(k)
		}
		l.finish(k, deadlineExceeded, "the deadline of the loader has passed")
	}
	// One slow call must not keep all that ended behind it.
	if len(l.byDue) > 2*l.outstanding+1_000 {
		kept := make([]*call, 0, l.outstanding)
		for _, k := range l.byDue {
			if !k.ended {
				kept = append(kept, k)
			}
		}
		l.byDue = kept
	}
}
