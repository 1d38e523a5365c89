package main

import (
	"encoding/binary"
	"math"

	"golang.org/x/net/http2"
)

// What an answer was found to be.
type verdict struct {
	answered bool
	version  *int64 // the counter of the version that gave it
	wrong    bool   // its values are not the expected ones
}

// Takes DATA of the answer, and judges it when its message is whole.
func (c *connection) takeData(k *call, f *http2.DataFrame) {
	bytes := f.Data()
	if len(k.answer) > 0 || !isWhole(bytes) {
		k.answer = append(k.answer, bytes...)
		bytes = k.answer
	}
	if isWhole(bytes) {
		k.verdict = c.lane.judge(k.message, bytes[5:])
	}
}

// Whether the five bytes of framing and the message after them are there.
func isWhole(bytes []byte) bool {
	return len(bytes) >= 5 && len(bytes) >= 5+int(binary.BigEndian.Uint32(bytes[1:]))
}

func (l *lane) judge(message int, answer []byte) verdict {
	version, raw := inferAnswer(answer)
	return verdict{
		answered: true,
		version:  l.figures.counter(version),
		wrong:    len(l.load.expected) > 0 && !isNear(raw, l.load.expected[message], l.load.tolerance),
	}
}

// The model_version (field 2) and the first raw_output_contents (field 6) of a ModelInferResponse, which is what a
// protobuf message with other fields has there, or nothing.
func inferAnswer(message []byte) (version, raw []byte) {
	for len(message) > 0 {
		tag, n := binary.Uvarint(message)
		if n <= 0 {
			return version, raw
		}
		message = message[n:]
		if tag&7 == 0 {
			_, n = binary.Uvarint(message)
			if n <= 0 {
				return version, raw
			}
			message = message[n:]
			continue
		}
		length, n := binary.Uvarint(message)
		if tag&7 != 2 || n <= 0 || length > uint64(len(message)-n) {
			return version, raw
		}
		value := message[n : n+int(length)]
		message = message[n+int(length):]
		switch tag >> 3 {
		case 2:
			version = value
		case 6:
			if raw == nil {
				raw = value
			}
		}
	}
	return version, raw
}

func isNear(raw []byte, expected []float32, tolerance float64) bool {
	if len(raw) != 4*len(expected) {
		return false
	}
	for i, value := range expected {
		found := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		// Written so that NaN is not near anything.
		if !(math.Abs(float64(found)-float64(value)) <= tolerance) {
			return false
		}
	}
	return true
}
