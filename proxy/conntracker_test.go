package proxy

import (
	"bytes"
	"io"
	"net"
	"testing"
)

// frame returns a server's text frame of n bytes.
func frame(n int) []byte {
	head := []byte{0x81, byte(n)}
	switch {
	case n > 0xffff:
		head = []byte{0x81, 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
	case n > 125:
		head = []byte{0x81, 126, byte(n >> 8), byte(n)}
	}
	return append(head, bytes.Repeat([]byte{0xaa}, n)...)
}

// TestCloseFrameBetweenFrames: wherever the shutdown comes, the client receives whole frames and
// then the close frame.
func TestCloseFrameBetweenFrames(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 300, 70_000} {
		one := frame(n)
		all := append(append([]byte(nil), one...), frame(5)...)
		for _, cut := range []int{0, 1, 2, 3, len(one) - 1, len(one), len(one) + 1} {
			cut = max(0, min(cut, len(all)))
			client, server := net.Pipe()
			s := &socket{Conn: server}
			got := make(chan []byte)
			go func() { b, _ := io.ReadAll(client); got <- b }()
			s.Write(all[:cut])
			s.shutdown()
			s.Write(all[cut:])
			server.Close()
			want := append([]byte(nil), all[:0]...)
			switch {
			case cut > len(one):
				want = append(want, all...)
			case cut > 0:
				want = append(want, one...)
			}
			if b := <-got; !bytes.Equal(b, append(want, closeFrame...)) {
				t.Errorf("frame of %d, end after %d bytes: the client got %d bytes, want %d", n, cut, len(b),
					len(want)+len(closeFrame))
			}
		}
	}
}

// FuzzFrames: the end of a frame is found in the same place in one piece or in many.
func FuzzFrames(f *testing.F) {
	f.Add(append(frame(3), frame(200)...), 4)
	f.Add([]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6}, 1)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		var whole, parts frames
		whole.pass(b)
		piece = max(1, piece%16)
		for rest := b; len(rest) > 0; {
			n := min(piece, len(rest))
			parts.pass(rest[:n])
			rest = rest[n:]
		}
		if whole.between() != parts.between() || whole.left != parts.left || whole.have != parts.have {
			t.Errorf("pieces of %d of %x end in %+v, want %+v", piece, b, parts, whole)
		}
	})
}
