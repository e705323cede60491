package hostile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// mark is in every response of the application. An unauthorized client must never receive it.
const mark = "UPSTREAM-MARK"

// recorder is the application. It is a separate TCP server that records every byte that it
// receives, because an HTTP library would normalize the requests.
type recorder struct {
	l     net.Listener
	plain bool // does not try to set our cookies and headers
	mu    sync.Mutex
	// handlers holds the functions that respond to a request instead of the usual 200, by the first
	// path segment after /act/.
	handlers   map[string]func(c net.Conn, r *upstreamRequest)
	byCase     map[string][]*upstreamRequest // by X-Case
	unlabelled []*upstreamRequest            // without an X-Case
	open       map[net.Conn]bool
	served     map[net.Conn]int    // number of requests on a connection so far
	boundTo    map[net.Conn]string // case id that a connection is bound to (connections_test.go)
}

// upstreamRequest is one request as the application received it.
type upstreamRequest struct {
	head   string // request line and headers, raw
	method string
	target string
	lines  []string // the header lines, raw
	body   []byte
	ended  bool // no more of the body will arrive
	whole  bool // the body ended at its announced length
	nth    int  // index of the request on its connection, from 0
}

// values returns the values of all header lines whose folded name equals that of name.
func (s *upstreamRequest) values(name string) (list []string) {
	for _, line := range s.lines {
		n, v, _ := strings.Cut(line, ":")
		if fold(n) == fold(name) {
			list = append(list, strings.TrimSpace(v))
		}
	}
	return list
}

func (s *upstreamRequest) value(name string) string { return strings.Join(s.values(name), "\x00") }

// fold reduces a name to letters and digits in lower case. Some framework treats all names that
// fold to the same text as equal.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			return r
		}
		return -1
	}, name)
}

func newRecorder(t testing.TB) *recorder {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	u := &recorder{
		l:        l,
		byCase:   map[string][]*upstreamRequest{},
		open:     map[net.Conn]bool{},
		served:   map[net.Conn]int{},
		boundTo:  map[net.Conn]string{},
		handlers: map[string]func(net.Conn, *upstreamRequest){},
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			u.mu.Lock()
			u.open[c] = true
			u.mu.Unlock()
			go u.serve(c)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		u.mu.Lock()
		defer u.mu.Unlock()
		for c := range u.open {
			c.Close()
		}
	})
	return u
}

func (u *recorder) url() string { return "http://" + u.l.Addr().String() }

func (u *recorder) serve(c net.Conn) {
	defer func() {
		c.Close()
		u.mu.Lock()
		delete(u.open, c)
		delete(u.served, c)
		delete(u.boundTo, c)
		u.mu.Unlock()
	}()
	for br := bufio.NewReader(c); ; {
		s, err := readHead(br)
		if err != nil {
			return
		}
		who := u.bind(c, s)
		u.record(s)
		body, whole := s.readBody(br)
		u.mu.Lock()
		s.body, s.whole, s.ended = body, whole, true
		u.mu.Unlock()
		if rest, ok := strings.CutPrefix(s.target, "/act/"); ok {
			name, _, _ := strings.Cut(rest, "?")
			u.mu.Lock()
			do := u.handlers[name]
			u.mu.Unlock()
			if do != nil {
				do(c, s)
				return
			}
		}
		if !whole {
			return
		}
		text := mark + " " + s.method + " " + s.target + "\n"
		head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Upstream: %s\r\nContent-Length: %d\r\n"+
			"Set-Cookie: __Host-dinggate=planted; Path=/\r\nSet-Cookie: app=own; Path=/\r\nX-Auth-Request-User: "+
			"planted\r\nX-Forwarded-User: planted\r\n\r\n", mark, len(text))
		if u.plain {
			head = fmt.Sprintf("HTTP/1.1 200 OK\r\nX-Upstream: %s\r\nContent-Length: %d\r\n\r\n", mark, len(text))
		}
		if who != "" {
			head = strings.Replace(head, "\r\n", "\r\nX-Bound: "+who+"\r\n", 1)
		}
		if s.method == "HEAD" {
			text = ""
		}
		if _, err := io.WriteString(c, head+text); err != nil {
			return
		}
	}
}

// record stores a request as soon as its header has arrived. A request that arrived this far has
// passed dinggate.
func (u *recorder) record(s *upstreamRequest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id := s.value("X-Case"); id != "" {
		u.byCase[id] = append(u.byCase[id], s)
	} else {
		u.unlabelled = append(u.unlabelled, s)
	}
}

// received returns the requests of a case that the application received.
func (u *recorder) received(id string) []upstreamRequest {
	u.mu.Lock()
	defer u.mu.Unlock()
	return copies(u.byCase[id])
}

func copies(list []*upstreamRequest) []upstreamRequest {
	var out []upstreamRequest
	for _, s := range list {
		out = append(out, *s)
	}
	return out
}

// take returns all requests and empties the recorder.
func (u *recorder) take() (all map[string][]upstreamRequest, unlabelled []upstreamRequest) {
	u.mu.Lock()
	defer u.mu.Unlock()
	all = map[string][]upstreamRequest{}
	for id, list := range u.byCase {
		all[id] = copies(list)
	}
	unlabelled = copies(u.unlabelled)
	u.byCase, u.unlabelled = map[string][]*upstreamRequest{}, nil
	return all, unlabelled
}

// handle makes do answer /act/name. The connection is closed when do returns.
func (u *recorder) handle(name string, do func(c net.Conn, s *upstreamRequest)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.handlers[name] = do
}

// readHead reads a request line and its headers without normalizing the bytes.
func readHead(br *bufio.Reader) (*upstreamRequest, error) {
	var head bytes.Buffer
	s := &upstreamRequest{}
	for {
		line, err := br.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			return nil, err
		}
		text := strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if text == "" {
			s.head = head.String()
			return s, nil
		}
		if s.method == "" {
			s.method, text, _ = strings.Cut(text, " ")
			s.target, _, _ = strings.Cut(text, " ")
			continue
		}
		s.lines = append(s.lines, text)
	}
}

// readBody reads the body that the header announced. whole reports whether it was complete.
func (s *upstreamRequest) readBody(br *bufio.Reader) (body []byte, whole bool) {
	if strings.EqualFold(s.value("Transfer-Encoding"), "chunked") {
		return readChunks(br)
	}
	if s.value("Content-Length") == "" {
		return nil, true
	}
	n, err := strconv.Atoi(s.value("Content-Length"))
	if err != nil || n < 0 {
		return nil, false
	}
	body = make([]byte, min(n, 1<<20))
	got, err := io.ReadFull(br, body)
	if err != nil {
		return body[:got], false
	}
	_, err = io.CopyN(io.Discard, br, int64(n-got))
	return body, err == nil
}

// readChunks reads a chunked body with its trailer. The trailer is appended to the body.
func readChunks(br *bufio.Reader) (body []byte, whole bool) {
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return body, false
		}
		n, err := strconv.ParseInt(strings.TrimSpace(line), 16, 32)
		if err != nil {
			return body, false
		}
		if n == 0 {
			break
		}
		chunk := make([]byte, n+2)
		got, err := io.ReadFull(br, chunk)
		body = append(body, chunk[:min(got, int(n))]...)
		if err != nil {
			return body, false
		}
	}
	for {
		line, err := br.ReadString('\n')
		if err != nil {
			return body, false
		}
		if strings.TrimSpace(line) == "" {
			return body, true
		}
		body = append(body, "\ntrailer "+line...)
	}
}
