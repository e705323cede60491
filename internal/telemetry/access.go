package telemetry

import (
	"io"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Access is the record of one request. Empty strings are omitted. A target has no query, which can
// contain codes and states.
type Access struct {
	Time                  time.Time
	ID                    string
	Client                netip.Addr
	Method, Host, Path    string
	Status                int
	Bytes                 int64
	Duration              time.Duration
	Endpoint, Route, Rule string
	Verdict, User         string
	Code, Err, UserAgent  string
	Trace                 string // the id of the W3C trace of the request
}

// AccessLog writes one line per request; the zero value writes none. Safe for concurrent use. It
// does its own formatting because it runs on every request: no reflection, one buffer, one copy
// into the Writer.
type AccessLog struct {
	Out     io.Writer
	Console bool // text for a terminal instead of JSON

	now atomic.Pointer[second]
}

var lines = sync.Pool{New: func() any { b := make([]byte, 0, 1024); return &b }}

// Write records a.
func (l *AccessLog) Write(a *Access) {
	if l.Out == nil {
		return
	}
	buf := lines.Get().(*[]byte)
	b := (*buf)[:0]
	if l.Console {
		b = a.console(b)
	} else {
		b = l.json(b, a)
	}
	l.Out.Write(b)
	*buf = b
	lines.Put(buf)
}

// second is one formatted second: formatting costs more than the rest of a record, and thousands
// of records share one.
type second struct {
	unix       int64
	in         *time.Location
	text, zone string
}

// stamp appends t like time.RFC3339Nano, with all nine digits.
func (l *AccessLog) stamp(b []byte, t time.Time) []byte {
	now := l.now.Load()
	if now == nil || now.unix != t.Unix() || now.in != t.Location() {
		now = &second{t.Unix(), t.Location(), t.Format("2006-01-02T15:04:05."), t.Format("Z07:00")}
		l.now.Store(now)
	}
	return append(digits(append(b, now.text...), t.Nanosecond(), 9), now.zone...)
}

// digits appends the last count digits of n, at most nine, with leading zeros.
func digits(b []byte, n, count int) []byte {
	var text [9]byte
	for i := range count {
		text[8-i] = byte('0' + n%10)
		n /= 10
	}
	return append(b, text[9-count:]...)
}

func (l *AccessLog) json(b []byte, a *Access) []byte {
	b = append(b, `{"time":"`...)
	b = l.stamp(b, a.Time)
	b = append(b, `","level":"`...)
	b = append(b, a.level()...)
	b = append(b, `","msg":"request","req":`...)
	b = quote(b, a.ID)
	if a.Client.IsValid() {
		b = append(b, `,"client":"`...)
		b = a.Client.AppendTo(b)
		b = append(b, '"')
	}
	b = field(b, "method", a.Method)
	b = field(b, "host", a.Host)
	b = field(b, "path", a.Path)
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(a.Status), 10)
	b = append(b, `,"bytes":`...)
	b = strconv.AppendInt(b, a.Bytes, 10)
	b = append(b, `,"ms":`...)
	us := int(a.Duration.Microseconds())
	b = digits(append(strconv.AppendInt(b, int64(us/1000), 10), '.'), us%1000, 3)
	b = field(b, "endpoint", a.Endpoint)
	b = field(b, "route", a.Route)
	b = field(b, "rule", a.Rule)
	b = field(b, "verdict", a.Verdict)
	b = field(b, "user", a.User)
	b = field(b, "code", a.Code)
	b = field(b, "err", a.Err)
	b = field(b, "trace", a.Trace)
	b = field(b, "ua", a.UserAgent)
	return append(b, '}', '\n')
}

func (a *Access) console(b []byte) []byte {
	b = a.Time.AppendFormat(b, "15:04:05.000 ")
	b = strconv.AppendInt(b, int64(a.Status), 10)
	for _, s := range []string{a.Method, a.Host + a.Path, a.User, a.Verdict, a.Rule, a.Code, a.Err} {
		if s != "" {
			b = append(b, ' ')
			b = plainText(b, s)
		}
	}
	b = append(b, " req="...)
	b = plainText(b, a.ID)
	return append(b, '\n')
}

func (a *Access) level() string {
	switch {
	case a.Status >= 500:
		return "ERROR"
	case a.Err != "":
		return "WARN"
	}
	return "INFO"
}

func field(b []byte, key, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, `,"`...)
	b = append(b, key...)
	b = append(b, `":`...)
	return quote(b, value)
}

// maxField bounds what clients can write into a log: a path, a host, or a User-Agent of one
// megabyte (threats D9).
const maxField = 1024

// quote appends s as a JSON string, truncated and with control bytes, quotes and invalid UTF-8
// escaped, so that a client cannot forge a second record.
func quote(b []byte, s string) []byte {
	if len(s) > maxField {
		s = s[:maxField]
	}
	b = append(b, '"')
	if plain(s) { // nearly every field: one copy instead of a loop over bytes
		return append(append(b, s...), '"')
	}
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			switch {
			case c == '"' || c == '\\':
				b = append(b, '\\', c)
			case control(rune(c)):
				b = escape(b, rune(c))
			default:
				b = append(b, c)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1 || bidi(r):
			b = append(b, `\ufffd`...)
		case control(r):
			b = escape(b, r)
		default:
			b = append(b, s[i:i+n]...)
		}
		i += n
	}
	return append(b, '"')
}

// plain reports whether s needs no escape in JSON.
func plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

func escape(b []byte, r rune) []byte {
	b = append(b, '\\', 'u')
	for shift := 12; shift >= 0; shift -= 4 {
		b = append(b, hexDigits[r>>shift&15])
	}
	return b
}

// control characters move a terminal's cursor, change its colours or end a line: those below the
// blank, DEL, and U+0080 to U+009F, of which U+009B begins an escape sequence and U+0085 ends a
// line in some programs.
func control(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }

// bidi marks reverse the text direction of a log viewer.
func bidi(r rune) bool {
	return r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f || r == 0x061c ||
		r == 0x2028 || r == 0x2029
}

func plainText(b []byte, s string) []byte {
	start := len(b)
	b = quote(b, s)
	copy(b[start:], b[start+1:]) // without its quotes
	return b[:len(b)-2]
}
