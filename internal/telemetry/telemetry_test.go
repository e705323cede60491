package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"
)

type sink struct {
	mu     sync.Mutex
	writes int
	bytes.Buffer
	err     error
	release chan struct{} // a slow reader: Write waits here
}

func (s *sink) Write(p []byte) (int, error) {
	if s.release != nil {
		<-s.release
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writes++
	if s.err != nil {
		return 0, s.err
	}
	return s.Buffer.Write(p)
}

func TestWriterGathers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{}
		w := NewWriter(out)
		for range 1000 {
			io.WriteString(w, "record\n")
		}
		time.Sleep(writeEvery)
		synctest.Wait()
		if out.writes != 1 || out.Len() != 7000 {
			t.Errorf("1,000 records took %d writes and %d bytes, want 1 and 7000", out.writes, out.Len())
		}
		io.WriteString(w, "last\n")
		w.Close()
		if !strings.HasSuffix(out.String(), "last\n") || w.Dropped() != 0 {
			t.Errorf("after Close the sink ends in %q with %d dropped", out.String()[7000:], w.Dropped())
		}
	})
}

func TestWriterNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &sink{release: make(chan struct{})}
		w := NewWriter(out)
		record := bytes.Repeat([]byte("x"), 1<<20)
		start := time.Now()
		for range 20 {
			w.Write(record)
		}
		if waited := time.Since(start); waited != 0 || w.Dropped() == 0 {
			t.Errorf("with a stuck sink 20 writes waited %v and dropped %d, want 0 and some", waited, w.Dropped())
		}
		w.Close() // gives up on the sink after its limit
		close(out.release)
	})
}

func TestWriterCountsWhatASinkRefuses(t *testing.T) {
	out := &sink{err: errors.New("no space left on device")}
	w := NewWriter(out)
	io.WriteString(w, "a\nb\n")
	w.Close()
	if w.Dropped() != 2 {
		t.Errorf("Dropped() = %d, want 2", w.Dropped())
	}
}

func TestAccessLog(t *testing.T) {
	var out bytes.Buffer
	a := Access{
		Time:      time.Unix(1, 0).UTC(),
		ID:        "r1",
		Client:    netip.MustParseAddr("192.0.2.1"),
		Method:    "GET",
		Host:      "app.test",
		Path:      "/报表\"\n\x00\u202e\xff",
		Status:    403,
		Bytes:     5,
		Duration:  1500 * time.Microsecond,
		Endpoint:  "callback",
		Verdict:   "deny",
		User:      "zhangsan",
		UserAgent: strings.Repeat("u", 1<<20),
		Err:       "why",
	}
	(&AccessLog{Out: &out}).Write(&a)
	if strings.Count(out.String(), "\n") != 1 || out.Len() > 2048 {
		t.Fatalf("the record has %d lines and %d bytes, want one short line", strings.Count(out.String(), "\n"),
			out.Len())
	}
	var got map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatalf("the record %s is no JSON: %v", &out, err)
	}
	if got["path"] != "/报表\"\n\x00\ufffd\ufffd" || got["status"] != 403.0 || got["ms"] != 1.5 ||
		got["user"] != "zhangsan" || got["level"] != "WARN" || got["client"] != "192.0.2.1" {
		t.Errorf("the record reads %v", got)
	}
	out.Reset()
	(&AccessLog{Out: &out, Console: true}).Write(&a)
	if strings.Count(out.String(), "\n") != 1 || !strings.Contains(out.String(), "403 GET app.test/报表") {
		t.Errorf("on a console the record reads %q", out.String())
	}
}

func TestAccessLogKeepsTime(t *testing.T) {
	var out bytes.Buffer
	l := &AccessLog{Out: &out} // one for all: it caches the last second
	west, east := time.FixedZone("", -3*3600-1800), time.FixedZone("", 8*3600)
	for _, at := range []time.Time{time.Unix(0, 1), time.Unix(0, 999999999), time.Unix(1, 0), time.Unix(0, 20),
		time.Unix(1e9, 123456789).In(west), time.Unix(1e9, 5).In(east), time.Unix(1e9, 5).UTC()} {
		out.Reset()
		l.Write(&Access{Time: at, Duration: 3*time.Second + 7*time.Microsecond})
		var got struct {
			Time time.Time
			MS   json.Number
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || !got.Time.Equal(at) ||
			got.Time.Format("Z07:00") != at.Format("Z07:00") || got.MS != "3000.007" {
			t.Errorf("a record of %v with 3.000007 s reads %s (%v)", at, &out, err)
		}
	}
}

func FuzzAccessLog(f *testing.F) {
	f.Add("/a\"b\\\n\x7f\xff\u202e")
	f.Fuzz(func(t *testing.T, s string) {
		var out bytes.Buffer
		(&AccessLog{Out: &out}).Write(&Access{ID: s, Path: s, User: s, UserAgent: s})
		if !json.Valid(out.Bytes()) || bytes.Count(out.Bytes(), []byte("\n")) != 1 {
			t.Errorf("the record of %q is %q", s, &out)
		}
	})
}

func TestMetrics(t *testing.T) {
	m := NewMetrics("v1", "abc", func() uint64 { return 3 })
	m.Request(Answered{Route: "/", Verdict: "allow", Code: 200}, time.Millisecond)
	m.Request(Answered{Route: "/", Verdict: "allow", Code: 200}, time.Millisecond)
	m.Request(Answered{Handler: "auth", Code: 799}, time.Millisecond)
	m.Request(Answered{Handler: "auth", Verdict: "unavailable", Reason: "store_unavailable", Code: 403}, time.Millisecond)
	m.Request(Answered{Verdict: "allow", Code: 101, Streamed: true}, 2*time.Hour)
	m.SignIn("browser", "ok")
	m.DingTalk("getbyunionid", "refused", "60121", time.Millisecond)
	m.UpstreamError("/", "refused")
	m.SessionEnded("sign_out")
	m.Gauge("sockets_open", "Open WebSockets.", func() float64 { return 2 })
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{
		`dinggate_http_requests_total{code="200",handler="proxy"} 2`,
		`dinggate_http_requests_total{code="other",handler="auth"} 1`,
		`dinggate_decisions_total{endpoint="proxy",result="allow",route="/"} 2`,
		`dinggate_signins_total{method="browser",result="ok"} 1`,
		`dinggate_dingtalk_requests_total{call="getbyunionid",result="refused"} 1`,
		`dinggate_dingtalk_refusals_total{call="getbyunionid",code="60121"} 1`,
		`dinggate_log_records_dropped_total 3`, `dinggate_build_info{`, `dinggate_sockets_open 2`,
		`dinggate_sessions_ended_total{reason="sign_out"} 1`,
		`dinggate_decisions_total{endpoint="auth",result="unavailable",route=""} 1`,
		`dinggate_refusals_total{endpoint="auth",reason="store_unavailable"} 1`,
		`dinggate_refusals_total{endpoint="proxy",reason="unconfirmed"} 0`,
		`dinggate_http_request_duration_seconds_count{handler="proxy"} 2`,
		`dinggate_stream_duration_seconds_bucket{le="3600"} 0`, `dinggate_stream_duration_seconds_sum 7200`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
}

func BenchmarkAccessLog(b *testing.B) {
	l := &AccessLog{Out: io.Discard}
	a := Access{
		Time:      time.Now(),
		ID:        "0123456789abcdef01234567",
		Client:    netip.MustParseAddr("192.0.2.1"),
		Method:    "GET",
		Host:      "app.test",
		Path:      "/dashboard",
		Status:    200,
		Endpoint:  "auth",
		Verdict:   "allow",
		User:      "zhangsan",
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64)",
	}
	b.ReportAllocs()
	for b.Loop() {
		l.Write(&a)
	}
}

func BenchmarkMetrics(b *testing.B) {
	m := NewMetrics("v1", "abc", func() uint64 { return 0 })
	b.ReportAllocs()
	for b.Loop() {
		m.Request(Answered{Handler: "auth", Route: "/", Verdict: "allow", Code: 200}, time.Millisecond)
	}
}

func TestStrays(t *testing.T) {
	var out bytes.Buffer
	l := log.New(Strays{Logger(&out, "json", slog.LevelInfo)}, "", 0)
	l.Printf("Unsolicited response received on idle HTTP channel starting with %q; err=%v",
		"HTTP/1.1 200 OK\r\nSet-Cookie: canary", nil)
	if text := out.String(); strings.Contains(text, "canary") || !strings.Contains(text, "Unsolicited response") ||
		strings.Count(text, "\n") != 1 {
		t.Errorf("Strays wrote %q", text)
	}
}

// TestControlCharacters: whatever a client writes into a log, in either format and in the audit
// file, no control character (C0, DEL, C1) and no bidi mark is written, a record stays one line,
// and JSON decodes to what was sent (threats D9).
func TestControlCharacters(t *testing.T) {
	var all strings.Builder
	for r := rune(0); r < 0xa1; r++ {
		all.WriteRune(r)
	}
	all.WriteString("\u202e\u2066\u200f\u061c\u2028张三\x9b\xc2")
	text := all.String()
	outputs := map[string]func(out io.Writer){
		"access": func(out io.Writer) {
			(&AccessLog{Out: out}).Write(&Access{
				Method:    text,
				Host:      text,
				Path:      text,
				User:      text,
				Rule:      text,
				Err:       text,
				UserAgent: text,
				Trace:     text,
			})
		},
		"access, console": func(out io.Writer) {
			(&AccessLog{Out: out, Console: true}).Write(&Access{
				ID:     text,
				Method: text,
				Host:   text,
				Path:   text,
				User:   text,
				Rule:   text,
				Err:    text,
			})
		},
		"log": func(out io.Writer) {
			Logger(out, "json", slog.LevelInfo).Warn(text, "err", text, text, errors.New(text))
		},
		"log, console": func(out io.Writer) {
			Logger(out, "console", slog.LevelInfo).Warn(text, "err", text, text, errors.New(text))
		},
		"stray": func(out io.Writer) {
			Strays{Log: Logger(out, "console", slog.LevelInfo)}.Write([]byte("\u009b\u0085\u202e" + text))
		},
		"audit": func(out io.Writer) {
			file := t.TempDir() + "/audit"
			a, err := OpenAudit(file, true, func(error) {})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			if err := a.Write(time.Unix(1, 0), "name", text, "reason", text); err != nil {
				t.Fatal(err)
			}
			lines, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			out.Write(lines)
		},
	}
	for name, write := range outputs {
		var out bytes.Buffer
		write(&out)
		line, ended := strings.CutSuffix(out.String(), "\n")
		if !ended || !strings.Contains(line, `\u009b`) && !strings.Contains(line, `\x9b`) {
			t.Errorf("%s: %q ends in no line, or has no U+009B", name, line)
		}
		for i, r := range line {
			if unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' {
				t.Errorf("%s: %U stands raw in the record, after %q", name, r, line[max(0, i-20):i])
			}
		}
		if !strings.Contains(name, "console") && name != "stray" && !json.Valid([]byte(line)) {
			t.Errorf("%s: %s is no JSON", name, line)
		}
	}
	var out bytes.Buffer
	Logger(&out, "json", slog.LevelInfo).Info("m", "v", "a\u0085b\u009b\x7f")
	var got struct{ V string }
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.V != "a\u0085b\u009b\x7f" {
		t.Errorf("the record reads %q, %v", got.V, err)
	}
}

// TestConsole: on a terminal all records begin alike, access records and others.
func TestConsole(t *testing.T) {
	var out bytes.Buffer
	at := time.Date(2026, 11, 29, 20, 19, 54, 534e6, time.UTC)
	(&AccessLog{Out: &out, Console: true}).Write(&Access{
		Time:   at,
		Status: 403,
		Method: "GET",
		Host:   "app.test",
		Path:   "/admin/",
		User:   "zhaoliu",
		ID:     "7f3a",
	})
	h := Logger(&out, "console", slog.LevelWarn).With("a", 1).Handler()
	for _, r := range []struct {
		level slog.Level
		msg   string
		attrs []any
	}{{slog.LevelWarn, "access denied", []any{"rule", "departments 42", "user", "zhaoliu"}},
		{slog.LevelError, "two\nlines", nil}} {
		record := slog.NewRecord(at, r.level, r.msg, 0)
		record.Add(r.attrs...)
		if err := h.Handle(t.Context(), record); err != nil {
			t.Fatal(err)
		}
	}
	Logger(&out, "console", slog.LevelWarn).Info("not shown")
	bare := slog.NewRecord(at, slog.LevelWarn, "bare", 0)
	Logger(&out, "console", slog.LevelWarn).WithGroup("g").Handler().Handle(t.Context(), bare)
	const want = `20:19:54.534 403 GET app.test/admin/ zhaoliu req=7f3a
20:19:54.534 WARN access denied a=1 rule="departments 42" user=zhaoliu
20:19:54.534 ERROR two\u000alines a=1
20:19:54.534 WARN bare
`
	if out.String() != want {
		t.Errorf("the log reads\n%swant\n%s", out.String(), want)
	}
}
