package main

import (
	"strconv"

	"golang.org/x/net/http2/hpack"
)

// What matters of an answer's headers or trailers.
type headers struct {
	httpStatus string
	grpcStatus int // -1: not there
	message    string
}

func (h headers) outcome() (status int, message string) {
	switch {
	case h.grpcStatus >= 0:
		return h.grpcStatus, h.message
	case h.httpStatus != "":
		return unknown, "HTTP status " + h.httpStatus
	default:
		return unknown, "no grpc-status"
	}
}

// Decodes header blocks. Nearly all of a server's are the same few: they are decoded once, which halves what an answer
// costs, and remembered until a block changes the table that they refer to.
type headerDecoder struct {
	decoder *hpack.Decoder
	current headers
	known   map[string]headers
}

func newHeaderDecoder() *headerDecoder {
	d := &headerDecoder{known: map[string]headers{}}
	d.decoder = hpack.NewDecoder(4_096, d.field)
	return d
}

// Enough for all that repeat; texts of errors may differ without end.
const knownMax = 64

func (d *headerDecoder) decode(block []byte) (headers, error) {
	if found, isKnown := d.known[string(block)]; isKnown {
		return found, nil
	}
	d.current = headers{grpcStatus: -1}
	if _, err := d.decoder.Write(block); err != nil {
		return headers{}, err
	}
	if err := d.decoder.Close(); err != nil {
		return headers{}, err
	}
	if changesTable(block) || len(d.known) >= knownMax {
		clear(d.known)
	} else {
		d.known[string(block)] = d.current
	}
	return d.current, nil
}

func (d *headerDecoder) field(field hpack.HeaderField) {
	switch field.Name {
	case ":status":
		d.current.httpStatus = field.Value
	case "grpc-status":
		if status, err := strconv.Atoi(field.Value); err == nil {
			d.current.grpcStatus = status
		}
	case "grpc-message":
		d.current.message = field.Value
	}
}

// Whether a valid header block adds to the decoder's table or resizes it (RFC 7541, 6).
func changesTable(block []byte) bool {
	for len(block) > 0 {
		switch first := block[0]; {
		case first&0x80 != 0: // indexed
			_, block = integer(block, 7)
		case first&0x40 != 0, first&0x20 != 0: // literal that is added; new size of the table
			return true
		default: // literal that is not added
			var index int
			if index, block = integer(block, 4); index == 0 {
				block = afterText(block)
			}
			block = afterText(block)
		}
	}
	return false
}

// The integer with a prefix of so many bits (RFC 7541, 5.1), and what follows it.
func integer(block []byte, prefix int) (int, []byte) {
	most := 1<<prefix - 1
	value := int(block[0]) & most
	block = block[1:]
	if value < most {
		return value, block
	}
	for shift := 0; ; shift += 7 {
		value += int(block[0]&0x7f) << shift
		isLast := block[0]&0x80 == 0
		block = block[1:]
		if isLast {
			return value, block
		}
	}
}

func afterText(block []byte) []byte {
	length, rest := integer(block, 7)
	return rest[length:]
}
