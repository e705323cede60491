package redisstore

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"dinggate/store"
	"dinggate/store/storetest"
)

// faulty is a server with just enough RESP to fail in every way: it greets as a Redis does and
// answers everything else as configured.
type faulty struct {
	net.Listener
	mu    sync.Mutex
	reply string        // the answer, with its type; "" closes the connection
	after time.Duration // before the answer
	part  int           // bytes of the answer, then nothing more; 0 is all
	conns map[net.Conn]bool
}

func startFaulty(t *testing.T) *faulty {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{Listener: l, conns: map[net.Conn]bool{}}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.conns[c] = true
			f.mu.Unlock()
			all.Go(func() { f.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		f.mu.Lock()
		for c := range f.conns {
			c.Close()
		}
		f.mu.Unlock()
		all.Wait()
	})
	return f
}

func (f *faulty) be(reply string, after time.Duration, part int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reply, f.after, f.part = reply, after, part
}

func (f *faulty) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		words, err := command(in)
		if err != nil {
			return
		}
		f.mu.Lock()
		reply, after, part := f.reply, f.after, f.part
		f.mu.Unlock()
		if strings.EqualFold(words[0], "hello") {
			io.WriteString(c, "-ERR unknown command 'hello', with args beginning with: '2' 'auth' 'u' 'canary-33'\r\n")
			continue
		}
		if strings.EqualFold(words[0], "auth") && !strings.HasPrefix(reply, "-WRONGPASS") {
			io.WriteString(c, "+OK\r\n")
			continue
		}
		time.Sleep(after)
		if reply == "" {
			return
		}
		if part > 0 {
			io.WriteString(c, reply[:part])
			continue
		}
		io.WriteString(c, reply)
	}
}

func command(in *bufio.Reader) (words []string, err error) {
	var n, size int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	for range n {
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words = append(words, string(word[:size]))
	}
	return words, nil
}

// TestFaults: any fault of Redis is a classified failure, soon, and never a result (threats V15).
func TestFaults(t *testing.T) {
	server := startFaulty(t)
	addr := server.Addr().String()
	for _, row := range []struct {
		name, reply string
		after       time.Duration
		part        int
		want        string
	}{
		{"slow", "$1\r\n1\r\n", 2 * time.Second, 0, "timeout"},
		{"hangs in mid-answer", "$100\r\n", 0, 3, "timeout"},
		{"closes", "", 0, 0, "closed"},
		{"MOVED", "-MOVED 1234 127.0.0.1:1\r\n", 0, 0, "moved"},
		{"ASK", "-ASK 1234 127.0.0.1:1\r\n", 0, 0, "moved"},
		{"READONLY", "-READONLY You can't write against a read only replica.\r\n", 0, 0, "readonly"},
		{"NOREPLICAS", "-NOREPLICAS Not enough good replicas to write.\r\n", 0, 0, "readonly"},
		{"OOM", "-OOM command not allowed when used memory > 'maxmemory'.\r\n", 0, 0, "oom"},
		{"NOAUTH", "-NOAUTH Authentication required.\r\n", 0, 0, "noauth"},
		{"WRONGPASS", "-WRONGPASS invalid username-password pair or user is disabled.\r\n", 0, 0, "noauth"},
		{"NOPERM", "-NOPERM this user has no permissions to run the 'get' command\r\n", 0, 0, "noauth"},
		{"LOADING", "-LOADING Redis is loading the dataset in memory\r\n", 0, 0, "loading"},
		{"CLUSTERDOWN", "-CLUSTERDOWN The cluster is down\r\n", 0, 0, "down"},
		{"MASTERDOWN", "-MASTERDOWN Link with MASTER is down\r\n", 0, 0, "down"},
		{"max clients", "-ERR max number of clients reached\r\n", 0, 0, "busy"},
		{"a wrong type", "*2\r\n:1\r\n:2\r\n", 0, 0, "other"},
		{"garbage", "HTTP/1.1 400 Bad Request\r\n", 0, 0, "other"},
	} {
		t.Run(row.name, func(t *testing.T) {
			server.be(row.reply, row.after, row.part)
			for form, url := range map[string]string{"single": "redis://u:canary-33@" + addr,
				"cluster": "redis-cluster://u:canary-33@" + addr} {
				s := open(t, url, impatient)
				for op, f := range map[string]func() error{
					"get":    func() error { _, err := s.Get(t.Context(), "k"); return err },
					"take":   func() error { _, err := s.Take(t.Context(), "k"); return err },
					"put":    func() error { return s.Put(t.Context(), "k", []byte("v"), time.Hour) },
					"add":    func() error { return s.Add(t.Context(), "k", nil, time.Hour) },
					"append": func() error { return s.Append(t.Context(), []byte("e")) },
				} {
					begin := time.Now()
					err := f()
					took := time.Since(begin)
					if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrExists) {
						t.Errorf("%s %s = %v, want a failure", form, op, err)
						continue
					}
					if got := Reason(err); form == "single" && got != row.want {
						t.Errorf("%s %s = %v (%s), want %s", form, op, err, got, row.want)
					}
					if strings.Contains(err.Error(), "canary") {
						t.Errorf("%s %s = %v, which shows the password", form, op, err)
					}
					// The limit is a second; four allow for a loaded machine, five would be
					// the library's default.
					if took > 4*time.Second {
						t.Errorf("%s %s took %v", form, op, took)
					}
				}
			}
		})
	}
}

// TestPoolIsBounded: a Redis that hangs holds a bounded number of connections, for any number of
// callers.
func TestPoolIsBounded(t *testing.T) {
	server := startFaulty(t)
	server.be("$1\r\n1\r\n", 2*time.Second, 0)
	s := open(t, "redis://"+server.Addr().String(), impatient)
	var all sync.WaitGroup
	for range 10 * connections {
		all.Go(func() {
			if _, err := s.Get(t.Context(), "k"); err == nil {
				t.Error("Get(hanging) = nil")
			}
		})
	}
	all.Wait()
	server.mu.Lock()
	defer server.mu.Unlock()
	// one after another: abandoned ones are closed before the next is dialled
	if n := len(server.conns); n > 3*connections {
		t.Errorf("%d callers made %d connections, want about %d", 10*connections, n, connections)
	}
}

// TestSameClientRecovers: a Store that saw every fault works as soon as Redis does.
func TestSameClientRecovers(t *testing.T) {
	server := startFaulty(t)
	server.be("-LOADING Redis is loading the dataset in memory\r\n", 0, 0)
	s := open(t, "redis://"+server.Addr().String(), impatient)
	l := storetest.Listen(t, s)
	for _, reply := range []string{"", "-READONLY replica\r\n", "-OOM x\r\n"} {
		if err := s.Ping(t.Context()); err == nil {
			t.Errorf("Ping(failing) = nil")
		}
		server.be(reply, 0, 0)
	}
	server.be("+OK\r\n", 0, 0)
	begin := time.Now()
	for s.Ping(t.Context()) != nil {
		if time.Since(begin) > 20*time.Second {
			t.Fatal("Ping still fails 20 s after the server is well")
		}
	}
	l.Wait(t, "silence", func(entries []string, lives []bool) bool { return len(entries) == 0 && len(lives) == 0 })
}
