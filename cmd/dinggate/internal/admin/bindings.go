package admin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
	"dinggate/internal/telemetry"
)

// BindingStore is a store of bindings that audits an administrator's changes. The
// record is written before the change, since no change may lack one if records are
// mandatory; if the change then fails, a record "undone" follows.
type BindingStore struct {
	Bindings account.Bindings
	Note     func(level slog.Level, msg, kind string, attrs ...any) error
}

// Imported is the response to an import: the faults, or the number of bindings.
type Imported struct {
	Count    int           `json:"count"`
	Problems []ImportFault `json:"problems,omitempty"`
}

// ImportFault is a fault in one line of a CSV, as the process that serves reports it.
// Line is 0 for the file as a whole.
type ImportFault struct {
	Line int          `json:"line,omitempty"`
	Text i18n.Message `json:"text"`
}

func importFaults(bad []conf.Problem) (all []ImportFault) {
	for _, p := range bad {
		all = append(all, ImportFault{p.Line, i18n.Message{i18n.English.Text(p.Text), i18n.Chinese.Text(p.Text)}})
	}
	return all
}

func (r BindingStore) List(ctx context.Context) ([]byte, error) {
	all, err := r.Bindings.List(ctx)
	return account.FormatCSV(all), err
}

// Unsealed lists the bindings of an older release, as CSV lines to follow those of List.
func (r BindingStore) Unsealed(ctx context.Context) (lines []byte, n int, err error) {
	store, ok := r.Bindings.(unsealed)
	if !ok {
		return nil, 0, nil
	}
	all, err := store.Unsealed(ctx)
	_, lines, _ = bytes.Cut(account.FormatCSV(all), []byte("\n"))
	return lines, len(all), err
}

// Add adds all bindings of a CSV, or none and reports every line with a fault.
func (r BindingStore) Add(ctx context.Context, text []byte) (Imported, error) {
	all, lines, bad := account.ParseCSV(text)
	if len(bad) > 0 {
		return Imported{Problems: importFaults(bad)}, nil
	}
	err := r.recorded("bindings_imported",
		[]any{"count", len(all)}, func() error { return r.Bindings.Add(ctx, all...) })
	if taken, ok := errors.AsType[*account.TakenError](err); ok {
		for _, i := range taken.Taken {
			bad = append(bad, conf.Problem{
				Line: lines[i],
				Text: conf.Textf("has a user or an account that is already bound to another; remove that binding first"),
			})
		}
		return Imported{Problems: importFaults(bad)}, nil
	}
	return Imported{Count: len(all)}, err
}

// Remove removes the binding of an account or a unionId.
func (r BindingStore) Remove(ctx context.Context, name string) (account.Binding, error) {
	b, err := r.Bindings.Find(ctx, account.Binding{Username: name})
	if errors.Is(err, account.ErrNone) && name != "" {
		b, err = r.Bindings.Find(ctx, account.Binding{UnionID: name})
	}
	if err != nil && !errors.Is(err, account.ErrUnsealed) {
		return account.Binding{}, err
	}
	err = r.recorded("unbound", []any{"user", b.Username, "unionid", b.UnionID}, func() error {
		_, err := r.Bindings.Remove(ctx, b.Username)
		return err
	})
	return b, err
}

func (r BindingStore) recorded(kind string, attrs []any, act func() error) error {
	if err := r.Note(slog.LevelWarn, "bindings", kind, attrs...); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	err := act()
	if err != nil {
		// the caller receives the error
		_ = r.Note(slog.LevelWarn, "bindings", "undone", append([]any{"act", kind, "err", err.Error()}, attrs...)...)
	}
	return err
}

// OpenBindingStore returns a BindingStore over a store that this process opened. It
// opens audit.file at the first record.
func OpenBindingStore(c cli.Invocation, cfg *config.Config, bindings account.Bindings,
	release func() error) (BindingStore, func()) {
	var audits *telemetry.Audit
	note := func(_ slog.Level, _, kind string, attrs ...any) (err error) {
		if audits == nil && cfg.Audit.File != "" {
			observe := func(err error) {
				if err != nil && !cfg.Audit.Strict() {
					fmt.Fprintln(c.Stderr, err)
				}
			}
			if audits, err = telemetry.OpenAudit(cfg.Audit.File, cfg.Audit.Strict(), observe); err != nil {
				observe(err)
			}
		}
		switch {
		case audits != nil:
			err = audits.Write(time.Now(), append([]any{"audit", kind, "by", "dinggate bindings"}, attrs...)...)
		case !cfg.Audit.Strict():
			err = nil
		}
		return err
	}
	return BindingStore{bindings, note}, func() {
		if audits != nil {
			audits.Close()
		}
		release()
	}
}

// unsealed is a store that may contain bindings of a release that did not seal them.
type unsealed interface {
	Unsealed(ctx context.Context) ([]account.Binding, error)
}
