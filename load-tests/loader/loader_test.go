package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"testing"
	"time"

	"golang.org/x/net/http2/hpack"
)

func TestHistogramIsWithinOnePercent(t *testing.T) {
	for latency := time.Duration(1); latency < time.Hour; latency = latency*21/20 + 1 {
		least, next := leastOf(bucketOf(latency)), leastOf(bucketOf(latency)+1)
		if latency < least || latency >= next {
			t.Fatalf("%v is not in [%v, %v)", latency, least, next)
		}
		if float64(next-least) > 0.01*float64(latency) && next-least > 1 {
			t.Fatalf("the bucket of %v is %v wide", latency, next-least)
		}
	}
}

func TestHistogramFindsQuantiles(t *testing.T) {
	h := &histogram{}
	for ms := 1; ms <= 1_000; ms++ {
		h.add(time.Duration(ms) * time.Millisecond)
	}
	for share, want := range map[float64]float64{0.5: 500, 0.99: 990, 0.999: 999} {
		if got := h.ms(share); math.Abs(got-want) > 0.011*want {
			t.Errorf("quantile %v is %v ms, not about %v", share, got, want)
		}
	}
}

func field(number int, value []byte) []byte {
	bytes := binary.AppendUvarint(nil, uint64(number<<3|2))
	return append(binary.AppendUvarint(bytes, uint64(len(value))), value...)
}

func TestInferAnswer(t *testing.T) {
	raw := binary.LittleEndian.AppendUint32(nil, math.Float32bits(0.25))
	answer := bytes.Join([][]byte{field(1, []byte("m")), field(2, []byte("7")), {3<<3 | 0, 0x81, 1}, field(6, raw)}, nil)
	version, found := inferAnswer(answer)
	if string(version) != "7" || !isNear(found, []float32{0.25}, 0) {
		t.Errorf("found version %q and %v", version, found)
	}
	if isNear(found, []float32{0.26}, 0.001) || isNear(found, []float32{0.25, 0.25}, 1) {
		t.Error("other values count as near")
	}
	if isNear(binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(math.NaN()))), []float32{0}, 1) {
		t.Error("NaN counts as near")
	}
	for end := range answer {
		inferAnswer(answer[:end]) // must not panic
	}
}

func TestKnownHeadersAreForgottenWhenTheTableChanges(t *testing.T) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encode := func(status string) []byte {
		block.Reset()
		encoder.WriteField(hpack.HeaderField{Name: "grpc-status", Value: status})
		return bytes.Clone(block.Bytes())
	}
	decoder := newHeaderDecoder()
	for _, status := range []string{"0", "0", "0", "8", "0", "8", "8"} {
		decoded, err := decoder.decode(encode(status))
		if got, _ := decoded.outcome(); err != nil || got != int(status[0]-'0') {
			t.Fatalf("%s became %d (%v)", status, got, err)
		}
	}
}

func TestChangesTable(t *testing.T) {
	for name, one := range map[string]struct {
		block []byte
		want  bool
	}{
		"indexed":                   {[]byte{0x88}, false},
		"added":                     {[]byte{0x40, 1, 'a', 1, 'b'}, true},
		"not added, own name":       {[]byte{0x00, 1, 'a', 1, 'b', 0x88}, false},
		"never added, indexed name": {[]byte{0x1f, 0x10, 1, 'b'}, false},
		"resized":                   {[]byte{0x20}, true},
		"added after another":       {[]byte{0x00, 1, 'a', 1, 'b', 0x41, 1, 'b'}, true},
	} {
		if got := changesTable(one.block); got != one.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
