package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"dinggate/dingtalk"
	"dinggate/dingtalk/sso"
	"dinggate/internal/conf"
)

var doctorFlags = []ownFlag{
	{name: "user", value: "USERID", brief: message{"a colleague whose record to look at: scope, e-mail, username", "用于核对通讯录记录的同事 userid：授权范围、邮箱、用户名"}},
	{name: "json", value: "", brief: message{"print JSON", "输出 JSON"}},
}

// severity of a finding; the exit code is 1 when one is wrong.
type severity int

const (
	fine severity = iota
	note          // for people to look at; nothing is known to be wrong
	warning
	wrong
	skipped // another finding has the same cause
)

// finding is what a check found out, and what to do about it.
type finding struct {
	severity severity
	text     message
	cure     message
	detail   string  // DingTalk's or the system's own words; never a secret
	cause    string  // findings with one cause are told once; "": a cause of its own
	because  message // skipped: the title of the check that tells the cause
}

// check is one thing that breaks sign-ins. Name is for programs and does not change.
type check struct {
	name  string
	title message
	host  string // the DingTalk host that it asks: "api", "oapi", "login"; "" for none
	run   func(context.Context) finding

	// derive looks at what the other checks found, after all of them; such a check has no run.
	derive func(others []finding) finding
}

// doctor looks at a configuration that has no mistakes, live.
type doctor struct {
	cfg   *Config
	probe *dingtalk.Probe
	sso   *sso.Client
	user  string // a colleague's userid; "" without
	now   func() time.Time
	roots *x509.CertPool // nil: the system's

	patience time.Duration // with a server that does not answer
	slow     time.Duration // a Redis that takes longer is told

	files  func(string) ([]byte, fs.FileMode, error)
	warned []conf.Problem

	members func() error // asked once, told in two rows

	mu   sync.Mutex
	skew []time.Duration // by how much DingTalk's clock is ahead of ours, per answer
}

const (
	doctorWithin = 20 * time.Second // all checks together
	checkWithin  = 12 * time.Second // each: longer than a call to DingTalk with its tries
)

// runDoctor makes all checks at once. The exit code is 1 when something is
// wrong, also in the configuration itself; warnings and notes are 0.
func runDoctor(c call) int {
	cfg, problems := load(c.args, c.environ)
	if code := exitCode(problems); code != 0 {
		tell(c.trouble, c.language, problems)
		return code
	}
	d := newDoctor(cfg, problems)
	d.user = c.own["user"]
	worst := fine
	err := c.until(func(ctx context.Context) error {
		checks := d.checks()
		found := d.examine(ctx, checks, progress(c, len(checks)))
		for _, f := range found {
			if f.severity != skipped {
				worst = max(worst, f.severity)
			}
		}
		if c.has("json") {
			return writeFindings(c, checks, found)
		}
		showFindings(c, checks, found)
		return ctx.Err()
	})
	if err == 0 && worst == wrong {
		return 1
	}
	return err
}

func newDoctor(cfg *Config, problems []conf.Problem) *doctor {
	d := &doctor{cfg: cfg, now: time.Now, patience: 5 * time.Second, slow: redisSlow, files: readFile, warned: problems}
	if cfg.SSO.On() {
		d.sso = &sso.Client{Config: cfg.SSO}
	} else {
		d.probe = &dingtalk.Probe{Client: &dingtalk.Client{Config: cfg.DingTalk}}
	}
	return d
}

// checks lists what there is to look at, in the order in which it is told:
// what explains others comes first.
func (d *doctor) checks() []check {
	all := []check{{name: "configuration", title: message{"configuration", "配置"}, run: d.configuration}}
	if d.sso != nil {
		all = append(all, d.ssoChecks()...)
	} else {
		all = append(all, d.dingtalkChecks()...)
	}
	all = append(all, d.storeChecks()...)
	all = append(all, d.bindingChecks()...)
	all = append(all, d.upstreamChecks()...)
	return append(all, d.doorChecks()...)
}

// examine runs all checks at once, each within its deadline, and tells step
// after each. What has one cause is told by the first of its findings.
func (d *doctor) examine(ctx context.Context, checks []check, step func(done int)) []finding {
	ctx, cancel := context.WithTimeout(ctx, doctorWithin)
	defer cancel()
	if d.probe != nil {
		d.members = sync.OnceValue(func() error { return d.probe.Members(ctx) })
		defer d.probe.Client.CloseIdleConnections()
	}
	found := make([]finding, len(checks))
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
	fold(checks, found)
	return found
}

// fold leaves one finding for each cause: the first, and for a host that does
// not answer the one that says so.
func fold(checks []check, found []finding) {
	told := map[string]int{}
	for i := range found {
		f := &found[i]
		if f.severity != wrong && f.severity != warning || f.cause == "" {
			continue
		}
		if host := checks[i].host; host != "" && slices.Contains(silences, f.cause) {
			f.cause = "silence of " + host
			if _, ok := told["silence of api"]; ok && host == "oapi" { // the token comes from there
				f.cause = "silence of api"
			}
		}
		if first, ok := told[f.cause]; ok {
			*f = finding{severity: skipped, because: checks[first].title}
			continue
		}
		told[f.cause] = i
	}
}

// silences are causes that are only the consequence of a host that does not answer.
var silences = []string{"unavailable", "bad_answer", "sso_unavailable"}

func good(text message) finding { return finding{text: text} }

func (d *doctor) configuration(context.Context) finding {
	if len(d.warned) == 0 {
		return good(message{"no mistakes", "没有错误"})
	}
	f := finding{severity: warning, cure: message{"dinggate check tells the same without asking anybody", "dinggate check 可离线查看同样的提示"}}
	for i, p := range d.warned {
		if i > 0 {
			f.text[english], f.text[chinese] = f.text[english]+"\n", f.text[chinese]+"\n"
		}
		p.Warning = false
		f.text[english] += english.problem(p)
		f.text[chinese] += chinese.problem(p)
	}
	return f
}

// failed makes a finding of DingTalk's refusal, or of its silence.
func failed(err error) finding {
	f := describeFailure(err)
	return finding{severity: wrong, text: f.text, cure: f.cure, detail: f.detail, cause: f.cause}
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

// progress tells on a terminal how far the checks are; step 0 clears the line.
func progress(c call, of int) func(int) {
	if !terminal(c.trouble) {
		return func(int) {}
	}
	return func(done int) {
		if done == 0 {
			fmt.Fprint(c.trouble, "\r\x1b[K")
			return
		}
		fmt.Fprintf(c.trouble, "\r\x1b[K"+c.say(message{"checking %d/%d", "检查中 %d/%d"}), done, of)
	}
}
