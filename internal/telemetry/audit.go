package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// Audit appends records of who entered, and who did not, to a file of their
// own: one JSON object a line. A file that was moved away or removed, as log
// rotation does it, is made again. Safe for concurrent use.
type Audit struct {
	path    string
	strict  bool
	observe func(error)
	records chan auditRecord
	done    chan struct{}

	mu     sync.RWMutex // guards closed against a Write that is under way
	closed bool

	file    *os.File // of the writer alone, as all below
	looked  time.Time
	partial bool // the last write broke off in the middle of a line
}

type auditRecord struct {
	line []byte
	done chan<- error // nil: nobody waits
}

const (
	auditQueue   = 1024            // records that wait for a slow sink; more are failures
	auditWithin  = 2 * time.Second // how long a record that somebody waits for may take
	auditLookAt  = time.Second     // how often the file is held against its name
	auditRetries = 2
)

// ErrAudit is a record that could not be written; its text is for the operator.
var ErrAudit = errors.New("telemetry: writing the audit record")

// OpenAudit opens path for appending; what cannot be opened now is an error.
// With strict, Write waits until the record is with the operating system.
// observe is called with every record, with the error of one that was lost.
func OpenAudit(path string, strict bool, observe func(error)) (*Audit, error) {
	a := &Audit{
		path:    path,
		strict:  strict,
		observe: observe,
		records: make(chan auditRecord, auditQueue),
		done:    make(chan struct{}),
	}
	if err := a.open(); err != nil {
		return nil, fmt.Errorf("telemetry: opening the audit file: %w", err)
	}
	go a.run()
	return a, nil
}

// Write takes one record, as for slog: keys and values. Without strict it never
// waits and never fails; with it, an error is ErrAudit and says that the record
// is lost.
func (a *Audit) Write(at time.Time, attrs ...any) error {
	var b bytes.Buffer
	plain := &slog.HandlerOptions{ReplaceAttr: func(groups []string, attr slog.Attr) slog.Attr {
		if len(groups) == 0 && (attr.Key == slog.LevelKey || attr.Key == slog.MessageKey || attr.Key == slog.TimeKey) {
			return slog.Attr{}
		}
		return attr
	}}
	slog.New(slog.NewJSONHandler(&b, plain)).Info("",
		append([]any{"at", at.UTC().Format(time.RFC3339Nano)}, attrs...)...)
	r := auditRecord{line: harmless(b.Bytes())}
	var written chan error
	if a.strict {
		written = make(chan error, 1)
		r.done = written
	}
	if !a.enqueue(r) {
		err := fmt.Errorf("%w: the sink is %d records behind, or closed", ErrAudit, auditQueue)
		a.observe(err)
		return a.failed(err)
	}
	if written == nil {
		return nil
	}
	timer := time.NewTimer(auditWithin)
	defer timer.Stop()
	select {
	case err := <-written:
		return a.failed(err)
	case <-timer.C:
		// it may still be written: the caller refuses all the same
		return fmt.Errorf("%w: the sink does not take it", ErrAudit)
	}
}

func (a *Audit) failed(err error) error {
	if !a.strict {
		return nil
	}
	return err
}

func (a *Audit) enqueue(r auditRecord) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if a.closed {
		return false
	}
	select {
	case a.records <- r:
		return true
	default:
		return false
	}
}

// Close writes what waits, for at most two seconds.
func (a *Audit) Close() {
	a.mu.Lock()
	if !a.closed {
		a.closed = true
		close(a.records)
	}
	a.mu.Unlock()
	select {
	case <-a.done:
	case <-time.After(auditWithin):
	}
}

func (a *Audit) run() {
	defer close(a.done)
	for r := range a.records {
		err := a.append(r.line)
		a.observe(err)
		if r.done != nil {
			r.done <- err
		}
	}
	if a.file != nil {
		a.file.Close()
	}
}

// append writes one line, to a fresh file when the old one is gone or refuses.
func (a *Audit) append(line []byte) error {
	if now := time.Now(); now.Sub(a.looked) >= auditLookAt || now.Before(a.looked) {
		a.looked = now
		a.follow()
	}
	var err error
	for range auditRetries {
		if a.file == nil {
			if err = a.open(); err != nil {
				continue
			}
		}
		text := line
		if a.partial {
			text = append([]byte{'\n'}, line...)
		}
		a.file.SetWriteDeadline(time.Now().Add(auditWithin)) // a pipe that nobody reads; other files have none
		var n int
		if n, err = a.file.Write(text); err == nil {
			a.partial = false
			return nil
		}
		a.partial = a.partial || n > 0
		a.file.Close()
		a.file = nil
	}
	return fmt.Errorf("%w: %w", ErrAudit, err)
}

// follow closes a file that no longer has its name.
func (a *Audit) follow() {
	if a.file == nil {
		return
	}
	named, err := os.Stat(a.path)
	have, haveErr := a.file.Stat()
	if err != nil || haveErr != nil || !os.SameFile(named, have) {
		a.file.Close()
		a.file, a.partial = nil, false
	}
}

// open does not wait for a pipe's reader: without one it is an error.
func (a *Audit) open() (err error) {
	a.file, err = os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		a.file = nil
	}
	return err
}
