package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"dinggate/account"
	"dinggate/cmd/dinggate/internal/admin"
	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/internal/keyring"
	"dinggate/session"
	"dinggate/store/boltstore"
	"dinggate/store/redisstore"
)

// bindingsStore is the store of `dinggate bindings`: one that this process opened, or
// the one of the process that serves.
type bindingsStore interface {
	List(ctx context.Context) ([]byte, error) // CSV
	Add(ctx context.Context, csv []byte) (admin.Imported, error)
	Remove(ctx context.Context, name string) (account.Binding, error)
}

var bindingsCommands = cli.Command{
	Name:  "bindings",
	Brief: i18n.Message{"list, import or remove account bindings", "列出、导入或解除账号绑定"},
	Commands: []cli.Command{
		{
			Name: "list", Config: true,
			Brief: i18n.Message{"print all bindings as CSV, the format of import", "以 CSV 打印全部绑定，可再次导入"},
			Run:   withBindings(listBindings),
		},
		{
			Name: "import", Config: true, Operands: []cli.Operand{{Name: "FILE", Path: true}},
			Brief: i18n.Message{
				"add the bindings of a CSV with the header unionid,username; FILE may be - for standard input",
				"导入 CSV 中的绑定，表头为 unionid,username；FILE 为 - 时读取标准输入"},
			Run: withBindings(importBindings),
		},
		{
			Name: "remove", Config: true, Operands: []cli.Operand{{Name: "NAME"}},
			Brief: i18n.Message{"remove the binding of an account or a unionId", "解除某个账号或 unionId 的绑定"},
			Run:   withBindings(removeBinding),
		},
	},
}

// withBindings opens the store of bindings that the configuration names and calls work.
func withBindings(work func(cli.Invocation, context.Context, bindingsStore) error) func(cli.Invocation) int {
	return func(c cli.Invocation) int {
		cfg, problems := c.Load()
		if code := config.ExitCode(problems); code != 0 {
			config.PrintProblems(c.Stderr, c.Language, problems)
			return code
		}
		return c.Until(func(ctx context.Context) error {
			store, done, err := openBindings(c, ctx, cfg)
			if err != nil {
				return err
			}
			defer done()
			return work(c, ctx, store)
		})
	}
}

// listBindings prints all bindings in the format of import. Bindings that are not
// sealed follow with a warning: they have no effect.
func listBindings(c cli.Invocation, ctx context.Context, store bindingsStore) error {
	text, err := store.List(ctx)
	if err != nil && !errors.Is(err, account.ErrSealed) {
		return err
	}
	if _, failed := c.Stdout.Write(text); failed != nil {
		return failed
	}
	if plain, ok := store.(admin.BindingStore); ok && err == nil {
		var lines []byte
		var n int
		if lines, n, err = plain.Unsealed(ctx); n > 0 {
			fmt.Fprintf(c.Stderr, c.Say(i18n.Message{
				"the last %d are of an older release, not sealed, and have no effect: another program with access to " +
					"Redis may have made them. Look them through, and import this list.\n",
				"最后 %d 条来自旧版本，未加密封存，不起作用：能写入 Redis 的人都可能伪造。请核对后重新导入本列表。\n"}), n)
			if _, failed := c.Stdout.Write(lines); failed != nil {
				return failed
			}
		}
	}
	return err
}

func importBindings(c cli.Invocation, ctx context.Context, store bindingsStore) error {
	file := c.Args[0]
	in := io.Reader(os.Stdin)
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, account.MaxCSV+1))
	if err != nil {
		return err
	}
	answer, err := store.Add(ctx, text)
	if err != nil {
		return err
	}
	if len(answer.Problems) > 0 {
		for _, p := range answer.Problems {
			at := file
			if p.Line > 0 {
				at += ":" + strconv.Itoa(p.Line)
			}
			fmt.Fprintf(c.Stderr, "%s: %s\n", at, c.Say(p.Text))
		}
		return errors.New(c.Say(i18n.Message{"no binding was imported", "没有导入任何绑定"}))
	}
	are := "s are active.\n"
	if answer.Count == 1 {
		are = " is active.\n"
	}
	fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"%d binding" + are, "%d 条绑定已生效。\n"}), answer.Count)
	return nil
}

func removeBinding(c cli.Invocation, ctx context.Context, store bindingsStore) error {
	b, err := store.Remove(ctx, c.Args[0])
	if errors.Is(err, account.ErrNone) {
		return errors.New(c.Say(i18n.Message{"no binding of an account or unionId with this name was found",
			"没有绑定这个名称的账号或 unionId"}))
	}
	if err == nil {
		fmt.Fprintf(c.Stdout, c.Say(i18n.Message{"%s is no longer bound to %s.\n", "%s 与 %s 的绑定已解除。\n"}), b.UnionID,
			b.Username)
	}
	return err
}

// openBindings opens the bindings in Redis or state_dir. If a process serves from
// state_dir, it goes through that process.
func openBindings(c cli.Invocation, ctx context.Context, cfg *config.Config) (bindingsStore, func(), error) {
	nothing := func() {}
	keys, err := keyring.New(cfg.Cookie.Secrets)
	if err != nil {
		return nil, nothing, err
	}
	if cfg.Session.Store == session.StoreRedis {
		r, err := redisstore.Open(cfg.Redis)
		if err != nil {
			return nil, nothing, err
		}
		store, done := admin.OpenBindingStore(c, cfg, r.Bindings(keys), r.Close)
		return store, done, nil
	}
	if cfg.StateDir == "" {
		return nil, nothing, cli.UserError{Message: i18n.Message{
			"there is no store for bindings: set state_dir, or session.store: redis",
			"没有保存绑定的地方：请设置 state_dir，或 session.store: redis"}}
	}
	if status, _, err := admin.Ask(ctx, config.ControlSocket(cfg, c.Environ), http.MethodHead, "/", nil); err == nil &&
		status == http.StatusNotFound {
		return controlClient(config.ControlSocket(cfg, c.Environ)), nothing, nil
	}
	f, err := boltstore.Open(cfg.StateDir)
	if errors.Is(err, boltstore.ErrBusy) {
		return nil, nothing, cli.UserError{Message: i18n.Message{
			fmt.Sprintf("another process has state_dir and does not answer at %s: accounts.binding may be off there, "+
				"or this is another user's socket", admin.ControlName),
			fmt.Sprintf("另一个进程正在使用 state_dir，且 %s 无应答：它可能没有启用 accounts.binding，或套接字属于其他用户",
				admin.ControlName)}, Err: err}
	}
	if err != nil {
		return nil, nothing, err
	}
	b, migrated, err := f.Bindings(account.Records{Sealer: keys})
	if migrated > 0 {
		fmt.Fprintf(c.Stderr,
			c.Say(i18n.Message{"bindings of an older release that were sealed: %d\n", "旧版本的 %d 条绑定已加密封存\n"}), migrated)
	}
	if err != nil {
		return nil, nothing, errors.Join(err, f.Close())
	}
	store, done := admin.OpenBindingStore(c, cfg, b, f.Close)
	return store, done, nil
}

// errStoreAway: the process that serves made the change as far as it could without its store.
var errStoreAway = errors.New("the process that serves answers")

// controlClient calls the process that serves, through this control socket.
type controlClient string

func (d controlClient) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	status, text, err := admin.Ask(ctx, string(d), method, path, body)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, account.ErrNone
	case status == http.StatusConflict:
		return nil, cli.UserError{Message: i18n.Message{
			"the process that serves keeps no bindings: accounts.binding is off there, or they are in Redis",
			"运行中的 dinggate 不保存绑定：没有启用 accounts.binding，或绑定在 Redis 中"}}
	case status == http.StatusServiceUnavailable:
		return nil, fmt.Errorf("%w: %s", errStoreAway, strings.TrimSpace(string(text)))
	case status != http.StatusOK:
		return nil, fmt.Errorf("the process that serves answers: %s", strings.TrimSpace(string(text)))
	}
	return text, nil
}

func (d controlClient) List(ctx context.Context) ([]byte, error) {
	return d.ask(ctx, http.MethodGet, "/bindings", nil)
}

func (d controlClient) Add(ctx context.Context, csv []byte) (answer admin.Imported, err error) {
	text, err := d.ask(ctx, http.MethodPost, "/bindings", csv)
	if err == nil {
		err = json.Unmarshal(text, &answer)
	}
	return answer, err
}

func (d controlClient) Remove(ctx context.Context, name string) (b account.Binding, err error) {
	text, err := d.ask(ctx, http.MethodDelete, "/bindings?name="+url.QueryEscape(name), nil)
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	return b, err
}
