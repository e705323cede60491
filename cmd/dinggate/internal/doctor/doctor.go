// Package doctor checks live what a sign-in needs, and says what to change.
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
	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
	"dinggate/internal/i18n"
)

var Flags = []cli.Flag{
	{Name: "user", Value: "USERID",
		Help: i18n.Message{"a colleague whose record to look at: scope, e-mail, username",
			"用于核对通讯录记录的同事 userid：授权范围、邮箱、用户名"}},
	{Name: "json", Value: "", Help: i18n.Message{"print JSON", "输出 JSON"}},
}

// severity of a finding; the exit code is 1 when one is wrong.
type severity int

const (
	Fine severity = iota
	Note          // for people to look at; nothing is known to be wrong
	Warning
	Wrong
	skipped // another finding has the same cause
)

// Result is what a check found out, and what to do about it.
type Result struct {
	Severity severity
	Text     i18n.Message
	Hint     i18n.Message
	Detail   string       // DingTalk's or the system's own words; never a secret
	cause    string       // findings with one cause are reported once; "": a cause of its own
	because  i18n.Message // skipped: the title of the check that reports the cause
	offline  bool         // no connection came about, or the name does not resolve
}

// check is one thing that breaks sign-ins. Name is for programs and does not change.
type check struct {
	Name  string
	title i18n.Message
	host  string // the DingTalk host that it asks: "api", "oapi", "login"; "" for none
	run   func(context.Context) Result

	// derive looks at what the other checks found, after all of them; such a check has no run.
	derive func(others []Result) Result
}

// Doctor looks at a configuration that has no mistakes, live.
type Doctor struct {
	cfg   *config.Config
	probe *dingtalk.Probe
	sso   *sso.Client
	User  string // a colleague's userid; "" without
	now   func() time.Time
	Roots *x509.CertPool // nil: the system's

	Patience time.Duration // with a server that does not answer
	Slow     time.Duration // a Redis that takes longer is reported

	Files  func(string) ([]byte, fs.FileMode, error)
	warned []conf.Problem

	members func() error // asked once, reported in two rows

	mu   sync.Mutex
	skew []time.Duration // by how much DingTalk's clock is ahead, per answer
}

const (
	doctorWithin = 20 * time.Second // all checks together
	checkWithin  = 12 * time.Second // each: longer than a call to DingTalk with its tries
)

// Run makes all checks at once. The exit code is 1 when something is
// wrong, also in the configuration itself; warnings and notes are 0.
func Run(c cli.Invocation) int {
	cfg, problems := c.Load()
	if code := config.ExitCode(problems); code != 0 {
		config.PrintProblems(c.Stderr, c.Language, problems)
		return code
	}
	d := New(cfg, problems)
	d.User = c.Given["user"]
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
		cfg:      cfg,
		now:      time.Now,
		Patience: 5 * time.Second,
		Slow:     redisSlow,
		Files:    config.ReadFile,
		warned:   problems,
	}
	if cfg.SSO.On() {
		d.sso = &sso.Client{Config: cfg.SSO}
	} else {
		d.probe = &dingtalk.Probe{Client: &dingtalk.Client{Config: cfg.DingTalk}}
	}
	return d
}

// Checks lists what there is to look at, in the order in which it is reported:
// what explains others comes first.
func (d *Doctor) Checks() []check {
	all := []check{{Name: "configuration", title: i18n.Message{"configuration", "配置"}, run: d.configuration}}
	if d.sso != nil {
		all = append(all, d.ssoChecks()...)
	} else {
		all = append(all, d.dingtalkChecks()...)
	}
	all = append(all, d.storeChecks()...)
	all = append(all, d.bindingChecks()...)
	all = append(all, d.upstreamChecks()...)
	all = append(all, d.doorChecks()...)
	return append(all, d.oidcChecks()...)
}

// Examine runs all checks at once, each within its deadline, and calls step
// after each. What has one cause is reported by the first of its findings.
func (d *Doctor) Examine(ctx context.Context, checks []check, step func(done int)) []Result {
	ctx, cancel := context.WithTimeout(ctx, doctorWithin)
	defer cancel()
	if d.probe != nil {
		d.members = sync.OnceValue(func() error { return d.probe.Members(ctx) })
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

// dedupe leaves one finding for each cause: the first, and for a host that does
// not answer the one that says so.
func dedupe(checks []check, found []Result) {
	told := map[string]int{}
	for i := range found {
		f := &found[i]
		if f.Severity != Wrong && f.Severity != Warning || f.cause == "" {
			continue
		}
		if host := checks[i].host; host != "" && slices.Contains(silences, f.cause) {
			f.cause = "silence of " + host
			if _, ok := told["silence of api"]; ok && host == "oapi" { // the token comes from there
				f.cause = "silence of api"
			}
		}
		if first, ok := told[f.cause]; ok {
			*f = Result{Severity: skipped, because: checks[first].title}
			continue
		}
		told[f.cause] = i
	}
}

// silences are causes that are only the consequence of a host that does not answer.
var silences = []string{"unavailable", "bad_answer", "sso_unavailable"}

func good(text i18n.Message) Result { return Result{Text: text} }

func (d *Doctor) configuration(context.Context) Result {
	if len(d.warned) == 0 {
		return good(i18n.Message{"no mistakes", "没有错误"})
	}
	f := Result{
		Severity: Warning,
		Hint:     i18n.Message{"dinggate check reports the same without network", "dinggate check 可离线查看同样的提示"},
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

// failed makes a finding of DingTalk's refusal, or of its silence.
func failed(err error) Result {
	f := describe.DescribeFailure(err)
	return Result{Severity: Wrong, Text: f.Text, Hint: f.Cure, Detail: f.Detail, cause: f.Cause}
}

// terminal reports whether out is one, so that a line may be written over.
func terminal(out any) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress shows on a terminal how far the checks are; step 0 clears the line.
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
