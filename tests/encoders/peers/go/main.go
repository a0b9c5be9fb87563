// Answers inputs with what compress/flate makes of them (tests/encoders/peer.rs says how questions look).
//
// Settings are words: level=N; write=N, how many bytes each Write has (all of them at once by default), or write=random;
// flush=N, a Flush after each N bytes. "version" asks for the version of Go and the processor. Any version of Go builds it:
// go build main.go.
package main

import (
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
)

func main() {
	questions, answers := bufio.NewReaderSize(os.Stdin, 1<<20), bufio.NewWriter(os.Stdout)
	for {
		settings, err := part(questions)
		if err == io.EOF {
			return
		}
		check(err)
		plain, err := part(questions)
		check(err)
		stream := compress(string(settings), plain)
		check(binary.Write(answers, binary.LittleEndian, uint32(len(stream))))
		_, err = answers.Write(stream)
		check(err)
		check(answers.Flush())
	}
}

func part(from io.Reader) ([]byte, error) {
	var size uint32
	if err := binary.Read(from, binary.LittleEndian, &size); err != nil {
		return nil, err
	}
	part := make([]byte, size)
	_, err := io.ReadFull(from, part)
	return part, err
}

func compress(settings string, plain []byte) []byte {
	if settings == "version" {
		return []byte(runtime.Version() + " " + runtime.GOARCH)
	}
	level, write, flush := flate.DefaultCompression, func() int { return len(plain) }, 0
	for _, setting := range strings.Fields(settings) {
		words := strings.SplitN(setting, "=", 2)
		number, err := strconv.Atoi(words[1])
		switch {
		case setting == "write=random":
			numbers := rand.New(rand.NewSource(int64(len(plain))))
			write = func() int { return 1 + numbers.Intn(5000) }
			continue
		case words[0] == "level":
			level = number
		case words[0] == "write":
			write = func() int { return number }
		case words[0] == "flush":
			flush = number
		default:
			err = fmt.Errorf("unknown setting %q", setting)
		}
		check(err)
	}
	var stream bytes.Buffer
	writer, err := flate.NewWriter(&stream, level)
	check(err)
	for written := 0; written < len(plain); {
		size := write()
		if left := len(plain) - written; size > left {
			size = left
		}
		_, err = writer.Write(plain[written : written+size])
		check(err)
		if flush > 0 && written/flush != (written+size)/flush {
			check(writer.Flush())
		}
		written += size
	}
	check(writer.Close())
	return stream.Bytes()
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
