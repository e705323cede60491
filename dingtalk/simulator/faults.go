package simulator

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bodies for Body: the answers of DingTalk's firewall to an address that calls
// too often.
const (
	PunishBody = `{"status":1111,"wait":5,"source":"x5","punish":"deny","uuid":"0b51d5e1c6a14bd6"}`
	PunishPage = `<!doctype html><html><head><title>punish</title></head><body>系统检测到异常流量</body></html>`
)

// Fault is an injected failure of an endpoint. The zero Verb does nothing.
type Fault struct {
	On    string `json:"on"`    // endpoint as Calls names it, or a path; "" = everything
	Do    Verb   `json:"do"`    // as text: "status 503", "delay 5s", "hang"
	Times int    `json:"times"` // how many calls it affects; 0 = until ClearFaults
	From  int    `json:"from"`  // how many calls pass before it, counted from now
}

// Verb is the effect of a fault. Its text form is the verb and its argument:
// Status(503) is "status 503".
type Verb struct {
	name, arg string
	wait      time.Duration
	n         int
}

// Delay answers later, otherwise normally; another fault may apply after it.
func Delay(d time.Duration) Verb { return Verb{name: "delay", arg: d.String(), wait: d} }

// Hang never answers. It ends when the client goes away, at ClearFaults and at Close.
func Hang() Verb { return Verb{name: "hang"} }

// Status answers with this HTTP status and an HTML page.
func Status(n int) Verb { return Verb{name: "status", arg: strconv.Itoa(n), n: n} }

// Code answers an error as DingTalk does, in the format of the endpoint: an errcode of
// the old host (60121), or a code of the new one ("Forbidden.AccessDenied.QpsLimitForApi").
// Where both hosts have the error either code works on both; a code that the
// endpoint's host lacks becomes "busy".
func Code[C int | string](c C) Verb { return Verb{name: "code", arg: fmt.Sprint(c)} }

// Body answers 200 with exactly this.
func Body(b string) Verb { return Verb{name: "body", arg: b} }

// Gzip answers 200 with this text and claims that it is compressed.
func Gzip(b string) Verb { return Verb{name: "gzip", arg: b} }

// Flood answers 200 with n bytes of an array that never closes.
func Flood(n int) Verb { return Verb{name: "flood", arg: strconv.Itoa(n), n: n} }

// Redirect answers 307 to another URL.
func Redirect(to string) Verb { return Verb{name: "redirect", arg: to} }

// Stringly sends the normal answer, but with numbers, booleans and lists as strings
// and lists of one object as that object, as the samples in DingTalk's
// documentation have them.
func Stringly() Verb { return Verb{name: "stringly"} }

// Cut sends the normal answer's header and n bytes of its body, then resets the connection.
func Cut(n int) Verb { return Verb{name: "cut", arg: strconv.Itoa(n), n: n} }

// Reset resets the connection before any answer.
func Reset() Verb { return Verb{name: "reset"} }

// Refuse closes the connection without an answer.
func Refuse() Verb { return Verb{name: "refuse"} }

// TLS answers with a TLS alert where HTTP is expected, beneath TLS where there is some.
func TLS() Verb { return Verb{name: "tls"} }

func (v Verb) String() string {
	if v.arg == "" {
		return v.name
	}
	return v.name + " " + v.arg
}

// MarshalText writes the text form.
func (v Verb) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads the text form.
func (v *Verb) UnmarshalText(text []byte) error {
	name, arg, _ := strings.Cut(string(text), " ")
	n, bad := strconv.Atoi(arg)
	made := Verb{name: name, arg: arg}
	switch name {
	case "hang", "stringly", "reset", "refuse", "tls":
		bad = nil
		if arg != "" {
			bad = fmt.Errorf("takes no argument")
		}
	case "delay":
		made.wait, bad = time.ParseDuration(arg)
	case "status":
		if bad == nil && (n < 200 || n > 999) {
			bad = fmt.Errorf("is no HTTP status")
		}
		made.n = n
	case "flood", "cut":
		if bad == nil && n < 0 {
			bad = fmt.Errorf("is negative")
		}
		made.n = n
	case "code", "redirect":
		bad = nil
		if arg == "" {
			bad = fmt.Errorf("wants an argument")
		}
	case "body", "gzip":
		bad = nil
	default:
		bad = fmt.Errorf("no such verb")
	}
	if bad != nil {
		return fmt.Errorf("simulator: fault verb %q: %w", text, bad)
	}
	*v = made
	return nil
}

type activeFault struct {
	Fault
	seen, hits int
	cleared    <-chan struct{}
}

// faultInjector holds the active faults. The zero injector is ready to use.
type faultInjector struct {
	mu      sync.Mutex
	faults  []*activeFault
	cleared chan struct{} // closed by ClearFaults; nil if no fault was added since
}

// Fault adds a fault. Of several that match a call the oldest applies.
func (f *faultInjector) Fault(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cleared == nil {
		f.cleared = make(chan struct{})
	}
	if len(f.faults) < faultsMax {
		f.faults = append(f.faults, &activeFault{Fault: fault, cleared: f.cleared})
	}
}

// Faults returns the active faults.
func (f *faultInjector) Faults() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := []Fault{}
	for _, active := range f.faults {
		list = append(list, active.Fault)
	}
	return list
}

// ClearFaults removes all faults, and ends the calls that hang in them.
func (f *faultInjector) ClearFaults() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cleared != nil {
		close(f.cleared)
	}
	f.cleared, f.faults = nil, nil
}

// matchFaults counts a call against the faults and returns those that apply to
// it: delays, and at most one other.
func (f *faultInjector) matchFaults(name, path string) []*activeFault {
	f.mu.Lock()
	defer f.mu.Unlock()
	var strike []*activeFault
	for _, active := range f.faults {
		if active.Do.name == "" || active.On != "" && active.On != name && active.On != path {
			continue
		}
		if active.seen++; active.seen <= active.From {
			continue
		}
		active.hits++
		strike = append(strike, active)
		if active.Do.name != "delay" {
			break
		}
	}
	f.faults = slices.DeleteFunc(f.faults, func(a *activeFault) bool { return a.Times > 0 && a.hits >= a.Times })
	return strike
}

// injectFaults answers a call with its faults, or with answer if there are none.
func (p *Platform) injectFaults(w http.ResponseWriter, r *http.Request, faults []*activeFault, e endpoint,
	answer func(http.ResponseWriter)) {
	for _, f := range faults {
		switch v := f.Do; v.name {
		case "delay":
			if !p.life.pause(r.Context(), v.wait, f.cleared) {
				panic(http.ErrAbortHandler)
			}
			continue
		case "hang":
			p.life.pause(r.Context(), 1<<62, f.cleared)
			panic(http.ErrAbortHandler)
		case "cut", "stringly":
			var buffered bufferedResponse
			answer(&buffered)
			buffered.send(w, v)
		case "reset", "refuse", "tls":
			abortConn(w, v.name)
		default:
			v.answer(w, e)
		}
		return
	}
	answer(w)
}

// answer writes the verbs that need neither the normal answer nor the connection.
func (v Verb) answer(w http.ResponseWriter, e endpoint) {
	switch v.name {
	case "status":
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(v.n)
		fmt.Fprintf(w, "<html><head><title>%d</title></head><body>%d %s</body></html>", v.n, v.n, http.StatusText(v.n))
	case "code":
		if e.old {
			apiErrorFor(v.arg).writeOld(w)
		} else {
			apiErrorFor(v.arg).writeNew(w)
		}
	case "redirect":
		w.Header().Set("Location", v.arg)
		w.WriteHeader(http.StatusTemporaryRedirect)
	case "gzip":
		w.Header().Set("Content-Encoding", "gzip")
		fallthrough
	case "body":
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		if strings.HasPrefix(v.arg, "<") {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
		}
		io.WriteString(w, v.arg)
	case "flood":
		w.Header().Set("Content-Type", "application/json;charset=utf-8")
		flood(w, v.n)
	}
}

func flood(w io.Writer, n int) {
	chunk := []byte("[" + strings.Repeat(`"钉",`, 4000))
	for n > 0 {
		some := chunk[:min(n, len(chunk))]
		if _, err := w.Write(some); err != nil {
			return
		}
		n -= len(some)
		chunk[0] = ' '
	}
}

// bufferedResponse holds an answer for a fault to alter.
type bufferedResponse struct {
	header http.Header
	status int
	body   []byte
}

func (a *bufferedResponse) Header() http.Header {
	if a.header == nil {
		a.header = http.Header{}
	}
	return a.header
}

func (a *bufferedResponse) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *bufferedResponse) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	a.body = append(a.body, b...)
	return len(b), nil
}

func (a *bufferedResponse) send(w http.ResponseWriter, v Verb) {
	body := a.body
	if v.name == "stringly" {
		body = stringly(body)
	}
	for name, values := range a.Header() {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(max(a.status, 200))
	if v.name == "stringly" {
		w.Write(body)
		return
	}
	w.Write(body[:min(v.n, len(body))])
	http.NewResponseController(w).Flush()
	abortConn(w, "reset")
}

// abortConn hijacks the connection and closes it without an answer.
func abortConn(w http.ResponseWriter, how string) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or no connection at all: abort the answer
	}
	defer conn.Close()
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = over.NetConn()
		defer conn.Close()
	}
	if how == "tls" {
		conn.Write([]byte{21, 3, 3, 0, 2, 2, 40}) // a fatal alert: handshake_failure
	}
	if tcp, ok := conn.(*net.TCPConn); ok && how == "reset" {
		tcp.SetLinger(0)
	}
}

// stringly rewrites a JSON answer; other bodies stay.
func stringly(body []byte) []byte {
	m, ok := object(body)
	if !ok {
		return body
	}
	out, err := json.Marshal(asText(m))
	if err != nil {
		return body
	}
	return out
}

func asText(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, field := range v {
			v[name] = asText(field)
		}
	case []any:
		if len(v) == 0 {
			return ""
		}
		if _, objects := v[0].(map[string]any); !objects {
			text, _ := json.Marshal(v) // it came out of JSON
			return string(text)
		}
		for i := range v {
			v[i] = asText(v[i])
		}
		if len(v) == 1 {
			return v[0]
		}
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return v.String()
	}
	return v
}
