package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"dinggate/account"
	"dinggate/internal/conf"
	"dinggate/internal/telemetry"
)

// register is the bindings in a store, with a record of what an administrator
// changes. The record comes first, since nothing is changed without one where
// records have to be; a change that then fails has a record "undone".
type register struct {
	bindings account.Bindings
	note     func(level slog.Level, msg, kind string, attrs ...any) error
}

// imported is the answer to an import: what is wrong, or how many there are.
type imported struct {
	Count    int            `json:"count"`
	Problems []conf.Problem `json:"problems,omitempty"`
}

func (r register) list(ctx context.Context) ([]byte, error) {
	all, err := r.bindings.List(ctx)
	return account.FormatCSV(all), err
}

// unsealed lists what an older release left, as lines to follow those of list.
func (r register) unsealed(ctx context.Context) (lines []byte, n int, err error) {
	store, ok := r.bindings.(unsealed)
	if !ok {
		return nil, 0, nil
	}
	all, err := store.Unsealed(ctx)
	_, lines, _ = bytes.Cut(account.FormatCSV(all), []byte("\n"))
	return lines, len(all), err
}

// add makes all bindings of a CSV, or none and tells every line that stands in
// the way.
func (r register) add(ctx context.Context, text []byte) (imported, error) {
	all, lines, bad := account.ParseCSV(text)
	if len(bad) > 0 {
		return imported{Problems: bad}, nil
	}
	err := r.recorded("bindings_imported", []any{"count", len(all)}, func() error { return r.bindings.Add(ctx, all...) })
	if taken, ok := errors.AsType[*account.TakenError](err); ok {
		for _, i := range taken.Taken {
			bad = append(bad, conf.Problem{Line: lines[i], Text: "has a person or an account that is bound to another; remove that binding first"})
		}
		return imported{Problems: bad}, nil
	}
	return imported{Count: len(all)}, err
}

// remove takes away the binding of an account or a unionId.
func (r register) remove(ctx context.Context, name string) (account.Binding, error) {
	b, err := r.bindings.Find(ctx, account.Binding{Username: name})
	if errors.Is(err, account.ErrNone) && name != "" {
		b, err = r.bindings.Find(ctx, account.Binding{UnionID: name})
	}
	if err != nil && !errors.Is(err, account.ErrUnsealed) {
		return account.Binding{}, err
	}
	err = r.recorded("unbound", []any{"user", b.Username, "unionid", b.UnionID}, func() error {
		_, err := r.bindings.Remove(ctx, b.Username)
		return err
	})
	return b, err
}

func (r register) recorded(kind string, attrs []any, act func() error) error {
	if err := r.note(slog.LevelWarn, "bindings", kind, attrs...); err != nil {
		return fmt.Errorf("nothing was changed: %w", err)
	}
	err := act()
	if err != nil {
		_ = r.note(slog.LevelWarn, "bindings", "undone", append([]any{"act", kind, "err", err.Error()}, attrs...)...) // the error is told to whoever asked
	}
	return err
}

// openRegister is a register over a store that this process has opened; its records go to
// audit.file, which is opened when there is something to record.
func openRegister(c call, cfg *Config, bindings account.Bindings, release func() error) (register, func()) {
	var audits *telemetry.Audit
	note := func(_ slog.Level, _, kind string, attrs ...any) (err error) {
		if audits == nil && cfg.Audit.File != "" {
			observe := func(err error) {
				if err != nil && !cfg.Audit.strict() {
					fmt.Fprintln(c.trouble, err)
				}
			}
			if audits, err = telemetry.OpenAudit(cfg.Audit.File, cfg.Audit.strict(), observe); err != nil {
				observe(err)
			}
		}
		switch {
		case audits != nil:
			err = audits.Write(time.Now(), append([]any{"audit", kind, "by", "dinggate bindings"}, attrs...)...)
		case !cfg.Audit.strict():
			err = nil
		}
		return err
	}
	return register{bindings, note}, func() {
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
