// Package telemetry implements logs, audit records, metrics and traces.
//
//	request ─► Access ─┐
//	slog ──────────────┴─► Writer (one buffer, never waits for the sink) ─► standard error
//	audit record ────────► Audit ─► audit.file
//	counters ────────────► Metrics ─► /metrics on the admin listener
//	spans ───────────────► Tracing ─► an OTLP collector
//
// NewMetrics defines the metrics that are counted here; Metrics.Gauge, GaugeOf, Count and Moment
// define one that another package measures. It imports no other package of dinggate: the command
// passes plain values. Only this package uses Prometheus and OpenTelemetry.
package telemetry

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Writer collects records and writes many of them with one call, so that a request never waits for
// a slow pipe or a full disk. Records that do not fit while the sink is behind are dropped and
// counted. Safe for concurrent use; Close writes the rest.
type Writer struct {
	sink    io.Writer
	dropped atomic.Uint64
	wake    chan struct{}
	stop    chan struct{}
	done    chan struct{}

	mu   sync.Mutex
	fill []byte // records since the last write
	free []byte // the buffer of the last write
}

const (
	writeEvery  = 100 * time.Millisecond // maximum age of a record before it is written
	writeAt     = 64 << 10               // bytes that wake the writer early
	writeAtMost = 4 << 20                // bytes buffered while the sink is behind; more is dropped
	closeWithin = 2 * time.Second        // how long Close waits for a sink that accepts nothing
)

// NewWriter starts writing to sink. The caller keeps sink open until Close has returned.
func NewWriter(sink io.Writer) *Writer {
	w := &Writer{sink: sink, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

// Write adds one whole record. It never fails and never waits for the sink.
func (w *Writer) Write(record []byte) (int, error) {
	w.mu.Lock()
	if len(w.fill)+len(record) > writeAtMost {
		w.mu.Unlock()
		w.dropped.Add(1)
		return len(record), nil
	}
	w.fill = append(w.fill, record...)
	full := len(w.fill) >= writeAt
	w.mu.Unlock()
	if full {
		w.nudge()
	}
	return len(record), nil
}

// Dropped counts the records that did not fit, or that the sink refused.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

func (w *Writer) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Writer) run() {
	defer close(w.done)
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-w.wake:
		case <-w.stop:
			w.flush()
			return
		}
		w.flush()
	}
}

func (w *Writer) flush() {
	w.mu.Lock()
	full := w.fill
	w.fill, w.free = w.free[:0], nil
	w.mu.Unlock()
	if len(full) > 0 {
		if _, err := w.sink.Write(full); err != nil { // a closed pipe must not stop the service
			w.dropped.Add(uint64(countLines(full)))
		}
	}
	if cap(full) > writeAt*4 { // a burst's buffer is released
		full = nil
	}
	w.mu.Lock()
	w.free = full[:0]
	w.mu.Unlock()
}

func countLines(b []byte) (n int) {
	for _, c := range b {
		if c == '\n' {
			n++
		}
	}
	return n
}

// Close writes the rest, waiting at most two seconds for a stuck sink. Call it once.
func (w *Writer) Close() {
	close(w.stop)
	select {
	case <-w.done:
	case <-time.After(closeWithin):
	}
}

// Strays makes records of the lines of the standard library's own logger, to which net/http writes
// that an upstream has answered without a request. The quoted bytes may contain a person's cookie
// and are omitted.
type Strays struct{ Log *slog.Logger }

func (s Strays) Write(line []byte) (int, error) {
	text, _, _ := strings.Cut(string(line), `"`)
	s.Log.Warn("net/http", "err", strings.TrimSpace(text))
	return len(line), nil
}

// harmless escapes the characters that slog leaves unchanged in a JSON text and that a terminal or
// a log viewer would interpret (control, bidi; threats D9). They occur only inside JSON strings,
// where \u0085 means the same.
func harmless(record []byte) []byte {
	if !bytes.ContainsFunc(record, needsEscape) {
		return record
	}
	safe := make([]byte, 0, len(record)+64)
	for i := 0; i < len(record); {
		r, n := utf8.DecodeRune(record[i:])
		if needsEscape(r) {
			safe = escape(safe, r)
		} else {
			safe = append(safe, record[i:i+n]...)
		}
		i += n
	}
	return safe
}

func needsEscape(r rune) bool { return control(r) && r != '\n' || bidi(r) }

type harmlessWriter struct{ out io.Writer }

func (w harmlessWriter) Write(record []byte) (int, error) {
	if _, err := w.out.Write(harmless(record)); err != nil {
		return 0, err
	}
	return len(record), nil
}

// Logger writes slog records of at least level to out, as JSON or, with format `console`, as text
// for a terminal. A *slog.LevelVar may change later.
func Logger(out io.Writer, format string, level slog.Leveler) *slog.Logger {
	out = harmlessWriter{out}
	if format == "console" {
		return slog.New(newConsoleHandler(out, level))
	}
	return slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: level}))
}
