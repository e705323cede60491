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

// BindingStore is the bindings in a store, with a record of what an administrator
// changes. The record comes first, since nothing is changed without one where
// records have to be; a change that then fails has a record "undone".
type BindingStore struct {
	Bindings account.Bindings
	Note     func(level slog.Level, msg, kind string, attrs ...any) error
}

// Imported is the answer to an import: what is wrong, or how many there are.
type Imported struct {
	Count    int           `json:"count"`
	Problems []ImportFault `json:"problems,omitempty"`
}

// ImportFault is what is wrong with one line of a CSV; it travels from the process
// that serves to the one that asked. Line is 0 for the file as a whole.
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

// Unsealed lists what an older release left, as lines to follow those of list.
func (r BindingStore) Unsealed(ctx context.Context) (lines []byte, n int, err error) {
	store, ok := r.Bindings.(unsealed)
	if !ok {
		return nil, 0, nil
	}
	all, err := store.Unsealed(ctx)
	_, lines, _ = bytes.Cut(account.FormatCSV(all), []byte("\n"))
	return lines, len(all), err
}

// Add makes all bindings of a CSV, or none and reports every line that is in
// the way.
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
				Text: conf.Textf("has a person or an account that is bound to another; remove that binding first"),
			})
		}
		return Imported{Problems: importFaults(bad)}, nil
	}
	return Imported{Count: len(all)}, err
}

// Remove takes away the binding of an account or a unionId.
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
		// the caller gets the error
		_ = r.Note(slog.LevelWarn, "bindings", "undone", append([]any{"act", kind, "err", err.Error()}, attrs...)...)
	}
	return err
}

// OpenBindingStore is a register over a store that this process has opened; its records go to
// audit.file, which is opened when there is something to record.
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

// unsealed is a store that may hold bindings of a release that did not seal.
type unsealed interface {
	Unsealed(ctx context.Context) ([]account.Binding, error)
}
