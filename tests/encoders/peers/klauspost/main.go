// Answers with the raw deflate streams of klauspost/compress, and of pgzip over it. The settings are
// "level=5 stream", "level=5 block=1048576", with "cut=1000" where the input is to be written in pieces.
package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/pgzip"
)

// What pgzip writes before the stream, and after it.
const header, trailer = 10, 8

func main() {
	in, out := bufio.NewReader(os.Stdin), bufio.NewWriter(os.Stdout)
	for {
		settings, err := part(in)
		if err == io.EOF {
			return
		}
		check(err)
		plain, err := part(in)
		check(err)
		answer := answer(string(settings), plain)
		check(binary.Write(out, binary.LittleEndian, uint32(len(answer))))
		_, err = out.Write(answer)
		check(err)
		check(out.Flush())
	}
}

func part(in io.Reader) ([]byte, error) {
	var length uint32
	if err := binary.Read(in, binary.LittleEndian, &length); err != nil {
		return nil, err
	}
	data := make([]byte, length)
	_, err := io.ReadFull(in, data)
	return data, err
}

// One writer a setting: making their tables takes longer than most inputs do.
var streams = map[int]*flate.Writer{}
var blocks = map[[2]int]*pgzip.Writer{}

func answer(settings string, plain []byte) []byte {
	level, block, cut := 0, 0, len(plain)
	for _, field := range strings.Fields(settings) {
		name, value, _ := strings.Cut(field, "=")
		var number int
		fmt.Sscan(value, &number)
		switch name {
		case "level":
			level = number
		case "block":
			block = number
		case "cut":
			cut = number
		}
	}
	var to bytes.Buffer
	if block == 0 {
		write(stream(level, &to), plain, cut)
		return to.Bytes()
	}
	write(blockwise(level, block, &to), plain, cut)
	return to.Bytes()[header : to.Len()-trailer]
}

func stream(level int, to io.Writer) io.WriteCloser {
	writer := streams[level]
	if writer == nil {
		var err error
		writer, err = flate.NewWriter(to, level)
		check(err)
		streams[level] = writer
	}
	writer.Reset(to)
	return writer
}

func blockwise(level, block int, to io.Writer) io.WriteCloser {
	writer := blocks[[2]int{level, block}]
	if writer == nil {
		var err error
		writer, err = pgzip.NewWriterLevel(to, level)
		check(err)
		blocks[[2]int{level, block}] = writer
	}
	writer.Reset(to)
	check(writer.SetConcurrency(block, 1))
	return writer
}

func write(to io.WriteCloser, plain []byte, cut int) {
	for len(plain) > 0 {
		size := cut
		if size > len(plain) {
			size = len(plain)
		}
		_, err := to.Write(plain[:size])
		check(err)
		plain = plain[size:]
	}
	check(to.Close())
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
