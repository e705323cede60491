package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"
)

// Audit appends audit records to a file of their own: one JSON object per line. If the file was
// moved or removed, for example by log rotation, it is created again. Safe for concurrent use.
type Audit struct {
	path    string
	strict  bool
	observe func(error)
	records chan auditRecord
	done    chan struct{}

	mu     sync.RWMutex // guards closed against a concurrent Write
	closed bool

	file    *os.File // used only by the writer, as all below
	looked  time.Time
	partial bool // the last write ended in the middle of a line
}

type auditRecord struct {
	line []byte
	done chan<- error // nil: no caller waits
}

const (
	auditQueue   = 1024            // records that wait for a slow sink; further ones are lost
	auditWithin  = 2 * time.Second // the deadline of a record that a caller waits for
	auditLookAt  = time.Second     // how often the file is compared with its name
	auditRetries = 2
)

// ErrAudit is returned for a record that could not be written; its text is for the operator.
var ErrAudit = errors.New("telemetry: writing the audit record")

// OpenAudit opens path for appending; a file that cannot be opened now is an error. With strict,
// Write waits until the operating system has the record. observe is called with the result of
// every record.
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

// Write writes one record, as slog does: keys and values. Without strict it never waits and never
// fails; with it, an error is ErrAudit and means that the record is lost.
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

// Close writes queued records, for at most two seconds.
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

// append writes one line, to a new file if the old one is gone or refuses it.
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
		a.file.SetWriteDeadline(time.Now().Add(auditWithin)) // a pipe without a reader; other files have no deadline
		var n int
		if n, err = a.file.Write(text); err == nil {
			a.partial = false
			return nil
		}
		a.partial = a.partial || n > 0 && !a.takeBack(n)
		a.file.Close()
		a.file = nil
	}
	return fmt.Errorf("%w: %w", ErrAudit, err)
}

// takeBack removes the last n bytes written, of a line that a full disk truncated. It returns
// false if this is no regular file, or another process has written after them.
func (a *Audit) takeBack(n int) bool {
	end, err := a.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return false
	}
	info, err := a.file.Stat()
	return err == nil && info.Mode().IsRegular() && info.Size() == end && a.file.Truncate(end-int64(n)) == nil
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

// open does not wait for a pipe's reader: without one it returns an error.
func (a *Audit) open() (err error) {
	a.file, err = os.OpenFile(a.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		a.file = nil
	}
	return err
}
