// Package doctor checks live whether sign-ins can work, and reports what to change.
//
//	Config ─► checks, all at once ─► Result each ─► one Result per cause ─► table or JSON
package doctor

import (
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"dinggate/cmd/dinggate/internal/cli"
	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/describe"
	"dinggate/cmd/dinggate/internal/dingtalkapp"
	"dinggate/cmd/dinggate/internal/orgtree"
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

// Command is `dinggate doctor`.
var Command = cli.Command{
	Name: "doctor", Config: true, Flags: flags, Run: Run,
	Brief: i18n.Message{
		"run live checks of everything that sign-ins need, with remedies; exit code 1 for an error",
		"实时检查登录所需的各项条件，并给出解决办法；有错误时退出码为 1"},
	Examples: []string{"doctor --config /etc/dinggate/config.yaml --user zhangsan"},
}

var flags = []cli.Flag{
	{Name: "user", Value: "USERID",
		Help: i18n.Message{"a colleague to look up: scope, e-mail, username",
			"用于核对通讯录记录的同事 userid：授权范围、邮箱、用户名"}},
	{Name: "dws", Value: "", Help: i18n.Message{
		"also read the app's settings with dws, DingTalk's command-line tool; a missing setting is shown with the command that sets it",
		"并用 dws（钉钉命令行工具）读取应用设置；缺失项会给出设置命令"}},
	{Name: "json", Value: "", Help: i18n.Message{"print JSON", "输出 JSON"}},
}

// severity is the severity of a result; the exit code is 1 if one is wrong.
type severity int

const (
	Fine severity = iota
	Note          // for information; no known mistake
	Warning
	Wrong
	skipped // another result has the same cause
)

// Result is the result of a check, and how to correct it.
type Result struct {
	Severity severity
	Text     i18n.Message
	Hint     i18n.Message
	Detail   string       // text of DingTalk or the system; never a secret
	cause    string       // results with one cause are reported once; "": a cause of its own
	because  i18n.Message // skipped: the title of the check that reports the cause
	offline  bool         // no connection came about, or the name does not resolve
}

// check is a check of one condition. Name is for programs and does not change.
type check struct {
	Name  string
	title i18n.Message
	host  string // the DingTalk host that it calls: "api", "oapi", "login"; "" for none
	run   func(context.Context) Result

	// derive evaluates the results of the other checks, after all of them; such a check has no run.
	derive func(others []Result) Result
}

// Doctor checks a valid configuration live.
type Doctor struct {
	cfg   *config.Config
	probe *dingtalk.Probe
	sso   *sso.Client
	User  string           // a colleague's userid; "" for none
	DWS   *dingtalkapp.DWS // nil: not used
	now   func() time.Time
	Roots *x509.CertPool // nil: the system's

	MaxWait time.Duration // for a server that does not answer
	Slow    time.Duration // a slower Redis is reported

	Files  func(string) ([]byte, fs.FileMode, error)
	warned []conf.Problem

	members func() error                  // called once, reported in two rows
	tree    func() (*orgtree.Tree, error) // read once, if a rule names an unknown department or role

	mu   sync.Mutex
	skew []time.Duration // how far DingTalk's clock is ahead, per answer
}

const (
	doctorWithin = 20 * time.Second // all checks together
	treeWithin   = 8 * time.Second  // the tree of departments, for a suggestion
	checkWithin  = 12 * time.Second // each check: longer than a call to DingTalk with its retries
)

// Run runs all checks concurrently. The exit code is 1 if a result is wrong, also for a
// mistake in the configuration; it is 0 for warnings and notes.
func Run(c cli.Invocation) int {
	cfg, problems := c.Load()
	if code := config.ExitCode(problems); code != 0 {
		config.PrintProblems(c.Stderr, c.Language, problems)
		return code
	}
	if err := cfg.ConnectAsService(); err != nil {
		fmt.Fprintf(c.Stderr, "dinggate: %v\n", err)
		return 1
	}
	d := New(cfg, problems)
	d.User = c.Given["user"]
	if c.Has("dws") {
		d.DWS = &dingtalkapp.DWS{}
	}
	worst := Fine
	err := c.Until(func(ctx context.Context) error {
		checks := d.Checks()
		found := d.Examine(ctx, checks, progress(c, len(checks)))
		for _, f := range found {
			if f.Severity != skipped {
				worst = max(worst, f.Severity)
			}
		}
		if c.Has("json") {
			return writeFindings(c, checks, found)
		}
		showFindings(c, checks, found)
		return ctx.Err()
	})
	if err == 0 && worst == Wrong {
		return 1
	}
	return err
}

func New(cfg *config.Config, problems []conf.Problem) *Doctor {
	d := &Doctor{
		cfg:     cfg,
		now:     time.Now,
		MaxWait: 5 * time.Second,
		Slow:    redisSlow,
		Files:   config.ReadFile,
		warned:  problems,
	}
	if cfg.SSO.On() {
		d.sso = &sso.Client{Config: cfg.SSO}
	} else {
		d.probe = &dingtalk.Probe{Client: &dingtalk.Client{Config: cfg.DingTalk}}
	}
	return d
}

// Checks lists the checks in the order of the report: those that explain others come
// first.
func (d *Doctor) Checks() []check {
	all := []check{{Name: "configuration", title: i18n.Message{"configuration", "配置"}, run: d.configuration}}
	if d.sso != nil {
		all = append(all, d.ssoChecks()...)
	} else {
		all = append(all, d.dingtalkChecks()...)
		all = append(all, dwsChecks(d)...)
	}
	all = append(all, d.storeChecks()...)
	all = append(all, d.bindingChecks()...)
	all = append(all, d.upstreamChecks()...)
	all = append(all, d.entryChecks()...)
	return append(all, d.oidcChecks()...)
}

// Examine runs all checks concurrently, each with a deadline, and calls step after each.
// The first result of a cause reports it.
func (d *Doctor) Examine(ctx context.Context, checks []check, step func(done int)) []Result {
	ctx, cancel := context.WithTimeout(ctx, doctorWithin)
	defer cancel()
	if d.probe != nil {
		d.members = sync.OnceValue(func() error { return d.probe.Members(ctx) })
		d.tree = sync.OnceValues(func() (*orgtree.Tree, error) {
			ctx, cancel := context.WithTimeout(ctx, treeWithin)
			defer cancel()
			return orgtree.Read(ctx, d.probe)
		})
		defer d.probe.Client.CloseIdleConnections()
	}
	found := make([]Result, len(checks))
	var all sync.WaitGroup
	var mu sync.Mutex
	done := 0
	for i, one := range checks {
		if one.run == nil {
			continue
		}
		all.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, checkWithin)
			defer cancel()
			found[i] = one.run(ctx)
			suspectAddress(d.cfg.DingTalk, one.host, &found[i])
			mu.Lock()
			defer mu.Unlock()
			done++
			step(done)
		})
	}
	all.Wait()
	step(0)
	for i, one := range checks {
		if one.derive != nil {
			found[i] = one.derive(found)
		}
	}
	dedupe(checks, found)
	return found
}

// suspectAddress extends the hint where the answer of a host is not DingTalk's and the
// configuration names that host.
func suspectAddress(given dingtalk.Config, host string, f *Result) {
	standard := dingtalk.Defaults()
	named := host == "api" && given.APIURL != standard.APIURL || host == "oapi" && given.OAPIURL != standard.OAPIURL
	if named && slices.Contains([]string{"unavailable", "bad_answer", "bad_request"}, f.cause) {
		key := "dingtalk." + host + "_url"
		f.Hint[i18n.English] += "; and check " + key
		f.Hint[i18n.Chinese] += "；并核对 " + key
	}
}

// dedupe keeps one result for each cause: the first one that is a problem; for a host
// that does not answer, the one that reports this.
func dedupe(checks []check, found []Result) {
	index := map[string]int{}
	for _, notes := range []bool{false, true} {
		for i := range found {
			f := &found[i]
			if f.Severity == Fine || f.Severity == skipped || f.cause == "" || notes != (f.Severity == Note) {
				continue
			}
			if host := checks[i].host; host != "" && slices.Contains(silences, f.cause) {
				f.cause = "silence of " + host
				if _, ok := index["silence of api"]; ok && host == "oapi" { // the token comes from there
					f.cause = "silence of api"
				}
			}
			if first, ok := index[f.cause]; ok {
				*f = Result{Severity: skipped, because: checks[first].title}
				continue
			}
			index[f.cause] = i
		}
	}
}

// silences are causes that follow from a host that does not answer.
var silences = []string{"unavailable", "bad_answer", "sso_unavailable"}

func good(text i18n.Message) Result { return Result{Text: text} }

func (d *Doctor) configuration(context.Context) Result {
	if len(d.warned) == 0 {
		return good(i18n.Message{"no mistakes", "没有错误"})
	}
	f := Result{
		Severity: Warning,
		Hint:     i18n.Message{"dinggate check reports the same offline", "dinggate check 可离线查看同样的提示"},
	}
	for i, p := range d.warned {
		if i > 0 {
			f.Text[i18n.English], f.Text[i18n.Chinese] = f.Text[i18n.English]+"\n", f.Text[i18n.Chinese]+"\n"
		}
		p.Warning = false
		f.Text[i18n.English] += i18n.English.Problem(p)
		f.Text[i18n.Chinese] += i18n.Chinese.Problem(p)
	}
	return f
}

// failed makes a result of a refusal by DingTalk, or of a missing answer.
func failed(err error) Result {
	f := describe.DescribeFailure(err)
	return Result{Severity: Wrong, Text: f.Text, Hint: f.Hint, Detail: f.Detail, cause: f.Cause}
}

// terminal reports whether out is a terminal, so that a line can be overwritten.
func terminal(out any) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress shows the progress of the checks on a terminal; step 0 clears the line.
func progress(c cli.Invocation, of int) func(int) {
	if !terminal(c.Stderr) {
		return func(int) {}
	}
	return func(done int) {
		if done == 0 {
			fmt.Fprint(c.Stderr, "\r\x1b[K")
			return
		}
		fmt.Fprintf(c.Stderr, "\r\x1b[K"+c.Say(i18n.Message{"checking %d/%d", "检查中 %d/%d"}), done, of)
	}
}
