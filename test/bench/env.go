package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"dinggate/internal/i18n"
)

// env holds the running processes that are measured.
type env struct {
	dir                          string
	handler, proxy, up, dinggate *process
	dinggateEnv                  []string
	secret                       string // cookie.secrets
	cookie                       string // a valid session, as a Cookie header
	binary                       string
	like, likeRefused            *process // bare handlers that answer with the same status and header as dinggate
	drawn                        []bar    // the bars of the picture
	conditions                   []bar    // the same request on other machines, with TLS, over HTTP/2
	facts                        []fact
	setting                      i18n.Message // how and on what the figures were measured
}

const corpID = "dingbench"

// build compiles dinggate and starts all servers.
func build() (*env, error) {
	h := &env{}
	var err error
	if h.dir, err = os.MkdirTemp("", "dinggate-bench"); err != nil {
		return nil, err
	}
	h.binary = filepath.Join(h.dir, "dinggate")
	compile := exec.Command("go", "build", "-trimpath", "-pgo=test/bench/dinggate.pgo", "-ldflags", "-s -w", "-o",
		h.binary, "./cmd/dinggate")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		return h, fmt.Errorf("building: %w: %s", err, out)
	}
	self, err := os.Executable()
	if err != nil {
		return h, err
	}
	if h.handler, err = start(nil, self, "yardstick", "handler", "-"); err != nil {
		return h, err
	}
	if h.up, err = start(nil, self, "yardstick", "upstream", "-"); err != nil {
		return h, err
	}
	if h.proxy, err = start(nil, self, "yardstick", "proxy", h.up.base); err != nil {
		return h, err
	}
	h.secret = newSecret()
	m, err := h.manager(nil)
	if err != nil {
		return h, err
	}
	cookie, err := cookieOf(m, 0)
	if err != nil {
		return h, err
	}
	h.cookie = "Cookie: " + cookie
	none := filepath.Join(h.dir, "none.yaml") // not /etc/dinggate of this machine
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		return h, err
	}
	h.dinggateEnv = []string{
		"DINGGATE_CONFIG=" + none,
		"DINGGATE_PUBLIC_URL=http://127.0.0.1:4180", "DINGGATE_LISTEN=127.0.0.1:0",
		"DINGGATE_ADMIN_LISTEN=127.0.0.1:0", "DINGGATE_TRUSTED_PROXIES=127.0.0.1/32",
		"DINGGATE_DINGTALK_CLIENT_ID=dingbench", "DINGGATE_DINGTALK_CLIENT_SECRET=unused",
		"DINGGATE_DINGTALK_CORP_ID=" + corpID, "DINGGATE_DINGTALK_EVENTS=false",
		// not reachable: the hot path makes no call
		"DINGGATE_DINGTALK_API_URL=http://127.0.0.1:9", "DINGGATE_DINGTALK_OAPI_URL=http://127.0.0.1:9",
		"DINGGATE_SESSION_RECHECK=12h", "DINGGATE_COOKIE_SECRETS=" + h.secret, "DINGGATE_UPSTREAM=" + h.up.base,
	}
	if h.dinggate, err = start(h.dinggateEnv, h.binary, "serve"); err != nil {
		return h, err
	}
	if h.like, err = h.alike(h.header()); err != nil {
		return h, err
	}
	h.likeRefused, err = h.alike(nil)
	return h, err
}

// alike starts a bare handler with the same response as dinggate's /oauth2/auth.
func (h *env) alike(header http.Header) (*process, error) {
	r, err := http.NewRequest(http.MethodGet, h.dinggate.base+"/oauth2/auth", nil)
	if err != nil {
		return nil, err
	}
	r.Header = header
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	res.Body.Close()
	delete(res.Header, "Date")
	delete(res.Header, "Content-Length")
	text, err := json.Marshal(likeness{res.StatusCode, res.Header})
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return start(nil, self, "yardstick", "like", string(text))
}

func (h *env) close() {
	for _, p := range []*process{h.dinggate, h.proxy, h.up, h.handler, h.like, h.likeRefused} {
		if p != nil {
			p.stop()
		}
	}
	os.RemoveAll(h.dir)
}
