package proxy

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// ConnTracker tracks the responses that do not end by themselves: WebSockets and
// server-sent events. Shutdown ends them: a WebSocket with status 1001, "going away",
// so that the client reconnects, to another process; an event stream with its regular
// end.
//
// The zero value is ready; safe for concurrent use. It must not be copied.
type ConnTracker struct {
	mu    sync.Mutex
	open  map[stream]struct{}
	ended bool
	none  chan struct{} // made by Shutdown; closed when no stream is open

	policy  *Handler      // whose rules apply; nil: for each stream those of the Handler that opened it
	changed chan struct{} // closed when policy is replaced; nil: nothing waits for it
}

// SetPolicy applies the rules of next to the open streams: those it would not allow
// are ended, the others continue to their upstream. Call it before requests go to
// next, otherwise those could be authorized by the previous rules.
func (s *ConnTracker) SetPolicy(next *Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.policy = next
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// handler is the Handler whose rules apply, and a channel that is closed when it is
// replaced.
func (s *ConnTracker) handler() (*Handler, <-chan struct{}) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.policy, s.changed
}

// stream is one tracked response; shutdown starts to end it and may take a while.
type stream interface{ shutdown() }

var (
	_ stream = (*socket)(nil)
	_ stream = (*responseBody)(nil)
)

func (s *ConnTracker) add(one stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[stream]struct{}{}
	}
	s.open[one] = struct{}{}
	if s.ended {
		go one.shutdown()
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

// Shutdown ends the open streams and those that are added later, and waits until all
// have ended or ctx is done; it reports whether all have ended. Call it once.
func (s *ConnTracker) Shutdown(ctx context.Context) bool {
	s.mu.Lock()
	s.ended = true
	var gone chan struct{}
	if len(s.open) > 0 {
		gone = make(chan struct{})
		s.none = gone
	}
	for one := range s.open {
		go one.shutdown()
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

// socket is the client's side of a WebSocket. It parses the frames that go to the
// client, since a frame of our own can only be inserted between two of them.
type socket struct {
	net.Conn
	mu      sync.Mutex
	frames  frames
	closing bool // shutdown was called
	closed  bool // the close frame was sent, or could not be
}

// closeTimeout bounds the rest of a frame, and the client's own close frame.
const closeTimeout = 3 * time.Second

// closeFrame is a close frame with status 1001 (RFC 6455 §5.5.1, §7.4.1).
var closeFrame = []byte{0x88, 2, 1001 >> 8, 1001 & 0xff}

var errShutdown = errors.New("proxy: the process is to stop")

func (s *socket) Write(b []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		if s.closed {
			return n, errShutdown
		}
		part := b
		if s.closing {
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

// closeWithFrame sends the close frame if shutdown was called and no frame is
// incomplete.
func (s *socket) closeWithFrame() {
	if !s.closing || s.closed || !s.frames.between() {
		return
	}
	s.closed = true
	if _, err := s.Conn.Write(closeFrame); err != nil {
		s.Conn.Close()
		return
	}
	// Closing both directions at once would make the kernel discard the close frame if
	// data of the client is unread. If the write side cannot be closed alone, the
	// deadline ends both.
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

func (s *socket) shutdown() {
	// A client that does not read blocks Write, which holds the lock: the deadline
	// releases it. After the time that the client has to answer, the other direction
	// ends too.
	_ = s.Conn.SetDeadline(time.Now().Add(closeTimeout))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	s.closeWithFrame()
}

// CloseWrite ends one direction, as net.TCPConn's does.
func (s *socket) CloseWrite() error {
	if half, ok := s.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return s.Conn.Close()
}

// frames parses WebSocket frames in a stream of bytes (RFC 6455 §5.2). The zero value
// is before the first.
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

// length of the header, as far as its first two bytes say.
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
