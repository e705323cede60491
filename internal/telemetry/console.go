package telemetry

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"sync"
)

// consoleHandler writes records in the format of the access log on a terminal, so that one log
// has one format:
//
//	15:04:05.000 WARN what happened key=value …
//
// slog formats the attributes.
type consoleHandler struct {
	*consoleOut
	attrs slog.Handler // writes to text
}

type consoleOut struct {
	mu   sync.Mutex
	text bytes.Buffer // of one record
	out  io.Writer
}

func newConsoleHandler(out io.Writer, level slog.Leveler) *consoleHandler {
	o := &consoleOut{out: out}
	return &consoleHandler{o,
		slog.NewTextHandler(&o.text, &slog.HandlerOptions{
			Level: level,
			ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
				if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
					return slog.Attr{} // they come first
				}
				return a
			},
		})}
}

func (h *consoleHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.attrs.Enabled(ctx, level)
}

// Handle writes the whole record with one call.
func (h *consoleHandler) Handle(ctx context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	line := h.text.AvailableBuffer()
	line = r.Time.AppendFormat(line, "15:04:05.000 ")
	line = plainText(append(append(line, r.Level.String()...), ' '), r.Message)
	h.text.Write(append(line, ' '))
	defer h.text.Reset()
	if err := h.attrs.Handle(ctx, r); err != nil {
		return err
	}
	_, err := h.out.Write(append(bytes.TrimRight(h.text.Bytes(), " \n"), '\n'))
	return err
}

func (h *consoleHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &consoleHandler{h.consoleOut, h.attrs.WithAttrs(attrs)}
}

func (h *consoleHandler) WithGroup(name string) slog.Handler {
	return &consoleHandler{h.consoleOut, h.attrs.WithGroup(name)}
}
