package hostile

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

const clientID = simulator.DemoClientID

// try is one input, or a short sequence of inputs, and the expected result.
type try struct {
	name string
	do   func(h *client)
}

// run runs the try. A panic of the try counts as a failure.
func (t try) run(h *client) {
	defer func() {
		if v := recover(); v != nil {
			h.failf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	t.do(h)
}

// client sends the requests of one try and collects its failures.
type client struct {
	env   *env
	conns *rawConns
	id    string // X-Case of its requests
	mu    sync.Mutex
	wrong []string
	last  []string // the latest exchanges, for the report of a failure
}

// reported is the number of exchanges that the report of a failure contains.
const reported = 4

// note records an exchange.
func (h *client) note(s request, a *answer, err error) {
	text := fmt.Sprintf("%s ─► %s %.700q\n\t  ◄─ ", s.from, s.to, s.raw)
	if err != nil {
		text += err.Error()
	} else {
		text += a.whole()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last = append(h.last, text); len(h.last) > reported {
		h.last = h.last[1:]
	}
}

// failf records a failure.
func (h *client) failf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

// send sends s and checks the invariants of the response, which is never nil.
func (h *client) send(s request) *answer {
	if s.from == "" {
		s.from = untrusted
	}
	if s.to == "" {
		s.to = h.env.addr
	}
	if s.secure == nil && s.to == h.env.addr {
		s.secure = h.env.secure
	}
	if s.to != h.env.addr {
		h.env.foreign.Store(h.id, true)
	}
	a, err := h.conns.send(s)
	h.note(s, a, err)
	if err == nil && h.env.invariants.late(s, a) { // O9: compare with a plain request and repeat the request
		plain, _ := h.conns.send(request{
			raw:    requestText("GET", "/open", h.id+"-plain"),
			to:     h.env.addr,
			secure: h.env.secure,
			from:   untrusted,
			fresh:  true,
		})
		limit := 3 * time.Second // for requests that can be sent only once
		if !s.session && (s.method == "" || s.method == "GET" || s.method == "HEAD") {
			limit = time.Second
			s.fresh = true
			// Another case id, so that checks of the received requests count this one once.
			again := h.id + "-again"
			if _, foreign := h.env.foreign.Load(h.id); foreign {
				h.env.foreign.Store(again, true)
			}
			s.raw = strings.ReplaceAll(s.raw, h.id, again)
			for attempt := range 3 { // an overloaded machine does not make dinggate slow
				time.Sleep(time.Duration(attempt) * time.Second)
				second, late := h.conns.send(s)
				h.note(s, second, late)
				if err = late; err != nil {
					break
				}
				if a.took = second.took; a.took <= limit {
					break
				}
			}
		}
		if err == nil && plain != nil && a.took > limit+5*plain.took {
			h.failf("O9: answered after %v; a plain request took %v", a.took, plain.took)
		}
	}
	if err != nil {
		h.failf("O9: %.200q: %v", s.raw, err)
		return &answer{header: http.Header{}}
	}
	for _, wrong := range h.env.invariants.check(s, a) {
		h.failf("%s\n\tafter %.500q\n\tgot %s", wrong, s.raw, a.whole())
	}
	if a.header == nil {
		a.header = http.Header{}
	}
	return a
}

// requestText returns the text of a request to app.test. Each header is a whole line. A header
// that begins with "Host:" replaces the default one.
func requestText(method, target, id string, headers ...string) string {
	host := "Host: app.test\r\n"
	rest := ""
	for _, line := range headers {
		if strings.HasPrefix(line, "Host:") {
			host = line + "\r\n"
		} else {
			rest += line + "\r\n"
		}
	}
	return method + " " + target + " HTTP/1.1\r\n" + host + "X-Case: " + id + "\r\n" + rest + "\r\n"
}

// get sends a request with the headers of a page load.
func (h *client) get(target string, headers ...string) *answer {
	return h.send(request{raw: requestText("GET", target, h.id, append([]string{"Accept: text/html"}, headers...)...)})
}

// count counts the tries that ran and failed, by class.
type count struct {
	mu    sync.Mutex
	lines []string
	names []string // of all tries
	ran   int
	bad   int
}

func (c *count) add(class string, ran, failed int, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, fmt.Sprintf("%-4s ran %5d, failed %d  (%.1f s)", class, ran, failed, took.Seconds()))
	c.ran, c.bad = c.ran+ran, c.bad+failed
}

func (c *count) name(one string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names = append(c.names, one)
}

func (c *count) print(notes []string) {
	fmt.Fprintf(os.Stderr, "\nhostile input\n%s\nall  ran %5d, failed %d\n", strings.Join(c.lines, "\n"), c.ran, c.bad)
	for _, note := range notes {
		fmt.Fprintln(os.Stderr, note)
	}
}

// addNote records a figure for the report. No limit applies to it.
func (s *env) addNote(format string, args ...any) {
	s.partnerMu.Lock()
	defer s.partnerMu.Unlock()
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

const (
	workers = 8
	shown   = 25 // number of failures of a class that are printed in full
)

// run runs the tries of a class with several clients at once.
func (s *env) run(t *testing.T, c *count, class string, minimum int, tries []try) {
	began := time.Now()
	queue := make(chan try)
	var all sync.WaitGroup
	var ran, failed atomic.Int64
	report := func(name string, wrong []string) {
		if n := failed.Add(1); n <= shown {
			t.Errorf("%s %s:\n%s", class, name, strings.Join(wrong, "\n"))
		}
	}
	for range workers {
		all.Go(func() {
			w := &rawConns{idle: map[string]*rawConn{}}
			defer w.close()
			for one := range queue {
				h := &client{env: s, conns: w, id: fmt.Sprintf("%s-%d", class, s.seq.Add(1))}
				one.run(h)
				c.name(one.name)
				if ran.Add(1); len(h.wrong) > 0 {
					report(one.name+" (case "+h.id+")",
						append(h.wrong, "the last exchanges:\n\t"+strings.Join(h.last, "\n\t")))
				}
			}
		})
	}
	for _, one := range tries {
		queue <- one
	}
	close(queue)
	all.Wait()
	if wrong := s.checkReceived(); len(wrong) > 0 {
		report("what the application received", wrong)
	}
	c.add(class, int(ran.Load()), int(failed.Load()), time.Since(began))
	if int(ran.Load()) < minimum {
		t.Errorf("class %s ran %d tries, its minimum is %d", class, ran.Load(), minimum)
	}
}

// checkReceived checks O1: each request that the application received has one record in the log, and that
// record is an allow for the same path.
func (s *env) checkReceived() (wrong []string) {
	all, unlabelled := s.up.take()
	if len(unlabelled) > 0 {
		all["without an id"] = unlabelled
	}
	for id, list := range all {
		if _, foreign := s.foreign.Load(id); foreign { // another process has the record
			continue
		}
		for _, one := range list {
			r, ok := s.logged(one.value("X-Request-Id"))
			path, _, _ := strings.Cut(one.target, "?")
			switch {
			case !ok:
				return append(wrong, fmt.Sprintf("O1: case %s: no record for %.300q", id, one.head))
			case r.Verdict != "allow":
				wrong = append(wrong, fmt.Sprintf("O1: case %s: the verdict on %.300q was %q", id, one.head, r.Verdict))
			case !samePath(r, path):
				wrong = append(wrong, fmt.Sprintf("O1: case %s: decided on %q, forwarded %q", id, r.Path, path))
			}
		}
	}
	return wrong
}

// samePath compares the path of the decision with the forwarded path. The log truncates long paths
// and escapes bytes that are not text.
func samePath(r record, sent string) bool {
	decided := r.Path
	if r.Route == "/strip/" {
		sent = "/strip" + sent
		decided = strings.Replace(decided, "%73trip", "strip", 1)
		if decided == "/strip" {
			decided = "/strip/"
		}
	}
	if len(sent) >= 1024 || strings.ToValidUTF8(sent, "\ufffd") != sent {
		return strings.HasPrefix(strings.ToValidUTF8(sent, "\ufffd"),
			strings.ToValidUTF8(decided[:min(len(decided), 500)], "\ufffd"))
	}
	return decided == sent
}

// calls returns the number of calls to DingTalk since the start.
func (s *env) calls() (n int64) {
	for _, k := range s.sim.AllCalls() {
		n += int64(k)
	}
	return n
}

// end makes the checks that require a finished run.
func (s *env) end(t *testing.T) {
	metrics := fetch(t, "http://"+s.admin+"/metrics")
	// O8: a leak would amount to thousands. Connections to the application are kept for 90 s, with
	// two goroutines each.
	for attempt := 100; ; attempt-- {
		goroutines, descriptors := metric(metrics, "go_goroutines"), s.descriptors()
		if goroutines < 500 && descriptors < 500 {
			break
		}
		if attempt == 0 {
			t.Errorf("O8: %v goroutines and %d descriptors are left", goroutines, descriptors)
			break
		}
		time.Sleep(100 * time.Millisecond)
		metrics = fetch(t, "http://"+s.admin+"/metrics")
	}
	if strings.Contains(metrics, canary) {
		t.Error("O7: a secret is in the metrics")
	}
	if !strings.Contains(metrics, "dinggate_log_records_dropped_total 0\n") {
		t.Error("O1: the log dropped records")
	}
	if err := s.finish(); err != nil {
		t.Errorf("O3: dinggate ended with %v", err)
	}
	output := s.output()
	for name, form := range forms(canary) {
		if strings.Contains(output, form) {
			t.Errorf("O7: a secret (%s) is in the log", name)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	excused := append([]string{"but 1 warning:", "dingtalk.rate is above 20"}, s.excused...) // the configured rate
	for i, line := range s.stray {
		if i < 40 && !slices.ContainsFunc(excused, func(part string) bool { return strings.Contains(line, part) }) {
			t.Errorf("O3: dinggate printed %s", line)
		}
	}
}

// metric returns the value of a metric without labels. It returns 0 if there is none.
func metric(text, name string) (v float64) {
	if _, rest, ok := strings.Cut(text, "\n"+name+" "); ok {
		fmt.Sscan(rest, &v)
	}
	return v
}

func fetch(t *testing.T, address string) string {
	t.Helper()
	r, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func unquote(s string) string {
	var text string
	if json.Unmarshal([]byte(s), &text) != nil {
		return s
	}
	return text
}

// newAddress returns a source address that no other try uses, so that limits per client do not apply.
func (s *env) newAddress() string {
	n := s.seq.Add(1)
	return net.IPv4(127, byte(16+n>>16&63), byte(n>>8), byte(n)).String()
}
