package main

import (
	"math/bits"
	"strconv"
	"time"
)

// Latencies in buckets whose width is below 1 % of their value, as HdrHistogram has them: 128 to each power of two of
// nanoseconds.
type histogram struct {
	counts [64 * perPower]int64
	total  int64
	max    time.Duration
}

const (
	powerBits = 7
	perPower  = 1 << powerBits
)

func bucketOf(latency time.Duration) int {
	n := uint64(max(latency, 0))
	shift := max(bits.Len64(n)-powerBits-1, 0)
	return shift<<powerBits + int(n>>shift)
}

// The least latency that falls into the bucket.
func leastOf(bucket int) time.Duration {
	shift := max(bucket>>powerBits-1, 0)
	return time.Duration(bucket-shift<<powerBits) << shift
}

func (h *histogram) add(latency time.Duration) {
	h.counts[bucketOf(latency)]++
	h.total++
	h.max = max(h.max, latency)
}

func (h *histogram) merge(other *histogram) {
	for i, count := range other.counts {
		h.counts[i] += count
	}
	h.total += other.total
	h.max = max(h.max, other.max)
}

// The latency that the share of all stays below, in ms; 0 when there are none.
func (h *histogram) ms(share float64) float64 {
	rank := int64(share * float64(h.total))
	seen := int64(0)
	for bucket, count := range h.counts {
		seen += count
		if seen > rank {
			return leastOf(bucket+1).Seconds() * 1_000
		}
	}
	return 0
}

// What a lane counts. Latencies are those of good answers.
type figures struct {
	statuses    map[int]int64
	messages    map[int]string // the first of each status that is not good
	versions    map[string]*int64
	wrong       int64
	uncounted   int64 // good answers of the warm-up
	all         *histogram
	interval    *histogram // since the last one was taken
	failedSince int64      // since the last interval was taken
	connections int
	goAways     int
}

func newFigures() figures {
	return figures{
		statuses: map[int]int64{},
		messages: map[int]string{},
		versions: map[string]*int64{},
		all:      &histogram{},
		interval: &histogram{},
	}
}

func (f *figures) counter(version []byte) *int64 {
	counter, found := f.versions[string(version)]
	if !found {
		counter = new(int64)
		f.versions[string(version)] = counter
	}
	return counter
}

func (f *figures) count(latency time.Duration, status int, message string, v verdict) {
	if status == ok && !v.answered {
		status, message = internal, "a good status without an answer"
	}
	f.statuses[status]++
	if status != ok {
		f.failedSince++
		if _, found := f.messages[status]; !found {
			f.messages[status] = message
		}
		return
	}
	*v.version++
	if v.wrong {
		f.wrong++
	}
	f.all.add(latency)
	f.interval.add(latency)
}

type latencies struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

func (h *histogram) latencies() latencies {
	return latencies{h.ms(0.5), h.ms(0.9), h.ms(0.99), h.ms(0.999), h.max.Seconds() * 1_000}
}

// One interval. `EndsAt` counts from the first call that was counted, in seconds.
type intervalFigures struct {
	EndsAt    float64   `json:"endsAt"`
	PerSecond float64   `json:"perSecond"`
	Failed    int64     `json:"failed"`
	LatencyMs latencies `json:"latencyMs"`
}

func takeInterval(lanes []*lane, endsAt, length time.Duration) intervalFigures {
	sum := &histogram{}
	failed := int64(0)
	for _, l := range lanes {
		l.mu.Lock()
		sum.merge(l.figures.interval)
		failed += l.figures.failedSince
		*l.figures.interval = histogram{}
		l.figures.failedSince = 0
		l.mu.Unlock()
	}
	return intervalFigures{endsAt.Seconds(), float64(sum.total) / length.Seconds(), failed, sum.latencies()}
}

// The whole load. `PerSecond` are good answers.
type totalFigures struct {
	PerSecond   float64           `json:"perSecond"`
	Answered    int64             `json:"answered"`
	WarmedUp    int64             `json:"warmedUp"`
	Failed      int64             `json:"failed"`
	Wrong       int64             `json:"wrong"`
	Unanswered  int64             `json:"unanswered"`
	Statuses    map[string]int64  `json:"statuses"`
	Messages    map[string]string `json:"messages"`
	Versions    map[string]int64  `json:"versions"`
	LatencyMs   latencies         `json:"latencyMs"`
	Connections int               `json:"connections"`
	GoAways     int               `json:"goAways"`
}

func total(l *load, lanes []*lane) totalFigures {
	sum := &histogram{}
	t := totalFigures{Statuses: map[string]int64{}, Messages: map[string]string{}, Versions: map[string]int64{}}
	for _, lane := range lanes {
		lane.mu.Lock()
		f := lane.figures
		sum.merge(f.all)
		for status, count := range f.statuses {
			t.Statuses[strconv.Itoa(status)] += count
			if status != ok {
				t.Failed += count
			}
		}
		for status, message := range f.messages {
			t.Messages[strconv.Itoa(status)] = message
		}
		for version, count := range f.versions {
			t.Versions[version] += *count
		}
		t.Wrong += f.wrong
		t.WarmedUp += f.uncounted
		t.Unanswered += int64(lane.outstanding)
		t.Connections += f.connections
		t.GoAways += f.goAways
		lane.mu.Unlock()
	}
	t.Answered = sum.total
	t.PerSecond = float64(sum.total) / (l.ends() - l.begin).Seconds()
	t.LatencyMs = sum.latencies()
	return t
}
