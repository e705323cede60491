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

// mark is in every answer of the application. Nobody without the right sees it.
const mark = "UPSTREAM-MARK"

// recorder is the application: a TCP server of its own that keeps every byte
// it is sent, since a HTTP library would tidy up what it reads.
type recorder struct {
	l     net.Listener
	plain bool // does not try to set our cookies and headers
	mu    sync.Mutex
	// behave answers a request in place of the usual 200; by first path segment
	// behind /act/.
	behave map[string]func(c net.Conn, r *sighting)
	seen   map[string][]*sighting // by X-Case
	lost   []*sighting            // without an X-Case
	open   map[net.Conn]bool
	served map[net.Conn]int    // requests on a connection so far
	people map[net.Conn]string // whom it is taken for (connections_test.go)
}

// sighting is one request as the application saw it.
type sighting struct {
	head   string // request line and headers, raw
	method string
	target string
	lines  []string // the header lines, raw
	body   []byte
	ended  bool // nothing more comes of the body
	whole  bool // the body ended where it said it would
	nth    int  // of its connection's requests, from 0
}

// values are those of all header lines whose folded name is that of name.
func (s *sighting) values(name string) (list []string) {
	for _, line := range s.lines {
		n, v, _ := strings.Cut(line, ":")
		if fold(n) == fold(name) {
			list = append(list, strings.TrimSpace(v))
		}
	}
	return list
}

func (s *sighting) value(name string) string { return strings.Join(s.values(name), "\x00") }

// fold reduces a name to letters and digits in lower case: what some framework
// or other takes for the same name.
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
		l:      l,
		seen:   map[string][]*sighting{},
		open:   map[net.Conn]bool{},
		served: map[net.Conn]int{},
		people: map[net.Conn]string{},
		behave: map[string]func(net.Conn, *sighting){},
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
		delete(u.people, c)
		u.mu.Unlock()
	}()
	for br := bufio.NewReader(c); ; {
		s, err := readHead(br)
		if err != nil {
			return
		}
		who := u.bound(c, s)
		u.keep(s)
		body, whole := s.readBody(br)
		u.mu.Lock()
		s.body, s.whole, s.ended = body, whole, true
		u.mu.Unlock()
		if rest, ok := strings.CutPrefix(s.target, "/act/"); ok {
			name, _, _ := strings.Cut(rest, "?")
			u.mu.Lock()
			do := u.behave[name]
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

// keep files a request as soon as its head is there: what came that far got through.
func (u *recorder) keep(s *sighting) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if id := s.value("X-Case"); id != "" {
		u.seen[id] = append(u.seen[id], s)
	} else {
		u.lost = append(u.lost, s)
	}
}

// of gives what the application saw of a case.
func (u *recorder) of(id string) []sighting {
	u.mu.Lock()
	defer u.mu.Unlock()
	return copies(u.seen[id])
}

func copies(list []*sighting) []sighting {
	var out []sighting
	for _, s := range list {
		out = append(out, *s)
	}
	return out
}

// take empties the recorder.
func (u *recorder) take() (all map[string][]sighting, lost []sighting) {
	u.mu.Lock()
	defer u.mu.Unlock()
	all = map[string][]sighting{}
	for id, list := range u.seen {
		all[id] = copies(list)
	}
	lost = copies(u.lost)
	u.seen, u.lost = map[string][]*sighting{}, nil
	return all, lost
}

// on answers /act/name with do, which closes the connection when it returns.
func (u *recorder) on(name string, do func(c net.Conn, s *sighting)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.behave[name] = do
}

// readHead reads a request line and its headers, bytes as they come.
func readHead(br *bufio.Reader) (*sighting, error) {
	var head bytes.Buffer
	s := &sighting{}
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

// readBody reads what the head announced; whole is whether all of it came.
func (s *sighting) readBody(br *bufio.Reader) (body []byte, whole bool) {
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

// readChunks reads a chunked body with its trailer, which it keeps behind the body.
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
