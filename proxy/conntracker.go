package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// ConnTracker are the answers that end only when somebody ends them: WebSockets and
// server-sent events. A process that is to stop ends them, since nothing else
// would: a WebSocket with status 1001, "going away", so that a client connects
// anew, to somebody else; an event stream with its regular end.
//
// The zero value is ready; safe for concurrent use.
type ConnTracker struct {
	mu    sync.Mutex
	open  map[stream]struct{}
	ended bool
	none  chan struct{} // made by End; closed when nothing is open

	now     *Handler      // whose rules hold; nil: those of the front that each came in by
	changed chan struct{} // closed when another takes its place; nil: nobody waits
}

// SetPolicy has next decide about what is open, as it will about what comes: what it
// would not let in ends, all else goes on to where it leads. Call it before
// requests go to next, else those could be judged by the rules before.
func (s *ConnTracker) SetPolicy(next *Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = next
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// handler is the Handler whose rules hold, and a channel that is closed when they no longer do.
func (s *ConnTracker) handler() (*Handler, <-chan struct{}) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.now, s.changed
}

// stream is one of them; leave begins its end and may take a while.
type stream interface{ leave() }

var (
	_ stream = (*socket)(nil)
	_ stream = (*answer)(nil)
)

func (s *ConnTracker) add(one stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[stream]struct{}{}
	}
	s.open[one] = struct{}{}
	if s.ended {
		go one.leave()
	}
}

func (s *ConnTracker) remove(one stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
	if s.none != nil && len(s.open) == 0 {
		close(s.none)
		s.none = nil
	}
}

// Shutdown ends what is open and what comes later, and waits until all are gone or
// ctx ends; it reports whether all are. Call it once.
func (s *ConnTracker) Shutdown(ctx context.Context) bool {
	s.mu.Lock()
	s.ended = true
	var gone chan struct{}
	if len(s.open) > 0 {
		gone = make(chan struct{})
		s.none = gone
	}
	for one := range s.open {
		go one.leave()
	}
	s.mu.Unlock()
	if gone == nil {
		return true
	}
	select {
	case <-gone:
		return true
	case <-ctx.Done():
		return false
	}
}

// socket is the client's side of a WebSocket. It follows the frames that go to
// the client, since a word of our own fits only between two of them.
type socket struct {
	net.Conn
	mu      sync.Mutex
	frames  frames
	leaving bool
	said    bool
}

// goodbyeWithin bounds what is left of a frame, and the client's own goodbye.
const goodbyeWithin = 3 * time.Second

// closeFrame is a close frame with status 1001 (RFC 6455 §5.5.1, §7.4.1).
var closeFrame = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

var errLeaving = errors.New("proxy: the process is to stop")

func (s *socket) Write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		if s.said {
			return n, errLeaving
		}
		part := b
		if s.leaving {
			part = b[:s.frames.next(b)]
		} else {
			s.frames.pass(b)
		}
		wrote, err := s.Conn.Write(part)
		if n += wrote; err != nil {
			return n, err
		}
		b = b[len(part):]
		s.closeWithFrame()
	}
	return n, nil
}

// closeWithFrame says goodbye where that is wanted and fits.
func (s *socket) closeWithFrame() {
	if !s.leaving || s.said || !s.frames.between() {
		return
	}
	s.said = true
	if _, err := s.Conn.Write(closeFrame); err != nil {
		s.Conn.Close()
		return
	}
	// Closing both directions at once would make the system throw the goodbye
	// away if something of the client's is unread. Where one cannot be closed
	// alone, the deadline ends both.
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

func (s *socket) leave() {
	// Whoever does not read holds the lock in Write: the deadline frees it. When
	// the client has had the time to answer, the other direction ends as well.
	_ = s.Conn.SetDeadline(time.Now().Add(goodbyeWithin))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaving = true
	s.closeWithFrame()
}

// CloseWrite ends one direction, as net.TCPConn's does.
func (s *socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Conn.Close()
}

// frames follows WebSocket frames through a stream of bytes (RFC 6455 §5.2).
// The zero value stands before the first.
type frames struct {
	head [14]byte
	have int    // bytes of a header so far
	left uint64 // bytes of the payload still to come
}

// between reports whether the next byte begins a frame.
func (f *frames) between() bool { return f.have == 0 && f.left == 0 }

func (f *frames) pass(b []byte) {
	for len(b) > 0 {
		b = b[f.next(b):]
	}
}

// next advances to the end of the frame, or of b, and returns how far that is.
func (f *frames) next(b []byte) (n int) {
	for n < len(b) {
		if f.left == 0 {
			f.head[f.have] = b[n]
			f.have++
			n++
			if f.have < f.length() {
				continue
			}
			f.left, f.have = f.payload(), 0
		}
		skip := min(f.left, uint64(len(b)-n))
		f.left -= skip
		n += int(skip)
		if f.left == 0 {
			return n
		}
	}
	return n
}

// length of the header, as far as its first two bytes tell.
func (f *frames) length() int {
	if f.have < 2 {
		return 2
	}
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 { // masked
		n += 4
	}
	return n
}

func (f *frames) payload() uint64 {
	switch short := f.head[1] & 0x7f; short {
	case 126:
		return uint64(f.head[2])<<8 | uint64(f.head[3])
	case 127:
		var n uint64
		for _, c := range f.head[2:10] {
			n = n<<8 | uint64(c)
		}
		return n
	default:
		return uint64(short)
	}
}
