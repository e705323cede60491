package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/session"
	"dinggate/session/revocation"
	"dinggate/store/redisstore"
)

const (
	manyRoutes   = 1000
	manySessions = 50_000
	revocations  = 300 // per second, on the busy journal
)

// variants measures the authorization subrequest under other conditions than the first table.
func (h *env) variants(rounds int, d time.Duration) error {
	for _, part := range []func(int, time.Duration) error{h.withRoutes, h.withSessions, h.withRedis} {
		if err := part(rounds, d); err != nil {
			return err
		}
	}
	return nil
}

// withRoutes measures dinggate with 1,000 routes before the one that applies, alternately
// with a dinggate that has only that route.
func (h *env) withRoutes(rounds int, d time.Duration) error {
	var routes strings.Builder
	routes.WriteString("routes:\n")
	for i := range manyRoutes {
		fmt.Fprintf(&routes, "  - path: /application-%d/\n    access: {departments: [%d]}\n", i, i+1)
	}
	fmt.Fprintf(&routes, "  - path: /\n    access: signed_in\n    upstream: %s\n", h.up.base)
	many, err := h.other("routes", routes.String(), "DINGGATE_UPSTREAM=")
	if err != nil {
		return err
	}
	defer many.stop()
	var more []time.Duration
	for range rounds {
		one, err := h.pressAuth(h.dinggate, d, 32)
		if err != nil {
			return err
		}
		all, err := h.pressAuth(many, d, 32)
		if err != nil {
			return err
		}
		more = append(more, all.cpu-one.cpu)
	}
	h.note("`/oauth2/auth` with 1,000 routes, more than with one", "`/oauth2/auth` 有 1,000 条路由时比一条路由多花", "≤ 3 µs",
		"%s", spread(more))
	return nil
}

// withSessions uses the cookies of 50,000 people in turn.
func (h *env) withSessions(rounds int, d time.Duration) error {
	cookies := make([]string, manySessions)
	m, err := h.manager(nil)
	if err != nil {
		return err
	}
	for i := range cookies {
		if cookies[i], err = cookieOf(m, i); err != nil {
			return err
		}
	}
	script, err := h.cookieScript(cookies)
	if err != nil {
		return err
	}
	if err := h.showEach(script); err != nil {
		return err
	}
	oneScript, err := h.cookieScript(cookies[:1])
	if err != nil {
		return err
	}
	var more []time.Duration
	for range rounds {
		one, err := h.pressAuth(h.dinggate, d, 32, "-s", oneScript)
		if err != nil {
			return err
		}
		all, err := h.pressAuth(h.dinggate, d, 32, "-s", script)
		if err != nil {
			return err
		}
		more = append(more, all.cpu-one.cpu)
	}
	h.note("`/oauth2/auth` from 50,000 sessions in turn, more than from one",
		"`/oauth2/auth` 由 50,000 个会话轮流访问时比单个会话多花", "≤ 3 µs", "%s", spread(more))
	return nil
}

// withRedis uses a session in Redis while other replicas end 300 sessions per second.
func (h *env) withRedis(rounds int, d time.Duration) error {
	program, err := exec.LookPath("redis-server")
	if err != nil {
		fmt.Println("\nredis-server is not installed: its figure is left out (`make tools`)")
		return nil
	}
	redis, url, err := h.redis(program)
	if err != nil {
		return err
	}
	defer redis.stop()
	shared, err := redisstore.Open(redisstore.Config{URL: conf.NewSecret(url), Prefix: "dinggate:"})
	if err != nil {
		return err
	}
	defer shared.Close()
	m, err := h.manager(shared)
	if err != nil {
		return err
	}
	cookie, err := cookieOf(m, 0)
	if err != nil {
		return err
	}
	second, err := h.other("redis", "", "DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL="+url)
	if err != nil {
		return err
	}
	defer second.stop()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	script, err := h.cookieScript([]string{cookie})
	if err != nil {
		return err
	}
	run := func(busy bool) (load, error) {
		ctx, end := context.WithCancel(ctx)
		defer end()
		failed := make(chan error, 1)
		go func() {
			for tick := time.NewTicker(time.Second / revocations); busy && ctx.Err() == nil; <-tick.C {
				who := identity.KeyOf(&identity.User{Username: rand.Text(), UnionID: rand.Text()}, false)
				if err := m.RevokeUser(ctx, revocation.PersonOf(who), ""); err != nil && ctx.Err() == nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
		l, err := h.pressAuth(second, d, 32, "-s", script)
		end()
		return l, errors.Join(err, <-failed)
	}
	if _, err := run(false); err != nil { // the first request with the cookie
		return err
	}
	var more []time.Duration
	for range rounds {
		quiet, err := run(false)
		if err != nil {
			return err
		}
		busy, err := run(true)
		if err != nil {
			return err
		}
		more = append(more, busy.cpu-quiet.cpu)
	}
	h.note("`/oauth2/auth`, sessions in Redis: 300 revocations a second on the journal, more than none",
		"`/oauth2/auth`，会话在 Redis 中：journal 每秒 300 次撤销时比没有撤销多花", "≤ 3 µs", "%s", spread(more))
	return nil
}

// redis starts one on the second core, without persistence.
func (h *env) redis(program string) (p *process, url string, err error) {
	address, _, err := twoPorts()
	if err != nil {
		return nil, "", err
	}
	_, port, _ := net.SplitHostPort(address)
	p = &process{cmd: exec.Command("taskset", "-c", "1", program, "--port", port, "--bind", "127.0.0.1", "--save", "",
		"--dir", h.dir)}
	if err := p.cmd.Start(); err != nil {
		return nil, "", err
	}
	if err := answers(address); err != nil {
		p.stop()
		return nil, "", err
	}
	return p, "redis://" + address, nil
}

// other starts a dinggate with settings in addition to those that all share.
func (h *env) other(name, yaml string, settings ...string) (*process, error) {
	file := filepath.Join(h.dir, name+".yaml")
	if err := os.WriteFile(file, []byte(yaml), 0o600); err != nil {
		return nil, err
	}
	return start(slices.Concat(h.dinggateEnv, settings, []string{"DINGGATE_CONFIG=" + file}), h.binary, "serve")
}

// pressAuth presses /oauth2/auth with a session; if the arguments for wrk name a script, the
// script sets the cookie.
func (h *env) pressAuth(p *process, d time.Duration, connections int, arguments ...string) (load, error) {
	headers := h.authRequest()
	if len(arguments) == 0 {
		headers = append(headers, h.cookie)
	}
	l, err := press(p, "/oauth2/auth", headers, d, connections, arguments...)
	if err == nil && l.errors > 0 {
		err = fmt.Errorf("%d of %d answers are no 2xx", l.errors, l.requests)
	}
	return l, err
}

// cookieScript is a file for wrk, which sends these Cookie headers in turn.
func (h *env) cookieScript(cookies []string) (string, error) {
	list, err := os.CreateTemp(h.dir, "cookies")
	if err != nil {
		return "", err
	}
	defer list.Close()
	if _, err := list.WriteString(strings.Join(cookies, "\n")); err != nil {
		return "", err
	}
	script := list.Name() + ".lua"
	return script, os.WriteFile(script, fmt.Appendf(nil, `
local all, at = {}, 0
for line in io.lines(%q) do all[#all + 1] = line end
request = function()
  at = at %% #all + 1
  wrk.headers["Cookie"] = all[at]
  return wrk.format()
end
`, list.Name()), 0o600)
}

// manager creates sessions that dinggate accepts here; a nil store: in cookies.
func (h *env) manager(shared *redisstore.Store) (*session.Manager, error) {
	keys, err := keyring.New([]conf.Secret{conf.NewSecret(h.secret)})
	if err != nil {
		return nil, err
	}
	m := &session.Manager{Keyring: keys, Config: session.Defaults(), Realm: corpID}
	if shared != nil {
		m.Config.Store, m.Store, m.Journal = session.StoreRedis, shared, shared
	}
	return m, nil
}

// cookieOf returns the Cookie value after a sign-in of the given person.
func cookieOf(m *session.Manager, number int) (string, error) {
	name := "zhangsan" + strconv.Itoa(number)
	_, cookie, err := m.Create(context.Background(), identity.User{
		UnionID:     "bench-union-id-" + name,
		UserID:      name,
		Username:    name,
		Name:        "张三",
		Email:       name + "@example.com",
		Departments: []int64{42, 4201},
		Roles:       []identity.Role{{ID: 1, Name: "主管"}},
	}, identity.Token{})
	if err != nil {
		return "", err
	}
	return cookie.Name + "=" + cookie.Value, nil
}

// newSecret generates one of cookie.secrets.
func newSecret() string {
	var raw [32]byte
	rand.Read(raw[:])
	return base64.StdEncoding.EncodeToString(raw[:])
}

// spread returns the median of some differences, and the minimum and maximum.
func spread(all []time.Duration) string {
	slices.Sort(all)
	return fmt.Sprintf("%v (%v … %v)", tenths(all[len(all)/2]), tenths(all[0]), tenths(all[len(all)-1]))
}

// showEach runs the script until dinggate has seen every one of its cookies.
// A run begins with the first cookie, so that one run must be long enough for all.
func (h *env) showEach(script string) error {
	d := 5 * time.Second
	for {
		run, err := h.pressAuth(h.dinggate, d, 32, "-s", script)
		if err != nil {
			return err
		}
		if run.requests >= manySessions {
			return nil
		}
		longer := d * manySessions / time.Duration(max(run.requests, 1)) * 3 / 2
		if longer > 2*time.Minute {
			return fmt.Errorf("%d requests in %v: too slow to show dinggate %d sessions", run.requests, d, manySessions)
		}
		d = longer
	}
}
