package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"

	"dinggate/internal/conf"
	"dinggate/internal/identity"
	"dinggate/internal/keyring"
	"dinggate/session"
)

// env holds the running processes that are measured.
type env struct {
	dir                      string
	handler, proxy, up, gate *process
	gateEnv                  []string
	cookie                   string // a valid session, as a Cookie header
	binary                   string
	like, likeRefused        *process // bare handlers that answer with the same status and header as dinggate
	drawn                    []bar    // what the picture shows
	facts                    []fact
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
	var raw [32]byte
	rand.Read(raw[:])
	secret := base64.StdEncoding.EncodeToString(raw[:])
	if err := h.signIn(secret); err != nil {
		return h, err
	}
	h.gateEnv = []string{
		"DINGGATE_PUBLIC_URL=http://127.0.0.1:4180", "DINGGATE_LISTEN=127.0.0.1:0",
		"DINGGATE_ADMIN_LISTEN=127.0.0.1:0", "DINGGATE_TRUSTED_PROXIES=127.0.0.1/32",
		"DINGGATE_DINGTALK_CLIENT_ID=dingbench", "DINGGATE_DINGTALK_CLIENT_SECRET=unused",
		"DINGGATE_DINGTALK_CORP_ID=" + corpID, "DINGGATE_DINGTALK_EVENTS=false",
		// nobody there: the hot path asks nobody
		"DINGGATE_DINGTALK_API_URL=http://127.0.0.1:9", "DINGGATE_DINGTALK_OAPI_URL=http://127.0.0.1:9",
		"DINGGATE_SESSION_RECHECK=12h", "DINGGATE_COOKIE_SECRETS=" + secret, "DINGGATE_UPSTREAM=" + h.up.base,
	}
	if h.gate, err = start(h.gateEnv, h.binary, "serve"); err != nil {
		return h, err
	}
	if h.like, err = h.alike(h.header()); err != nil {
		return h, err
	}
	h.likeRefused, err = h.alike(nil)
	return h, err
}

// alike starts a bare handler that answers what dinggate answers on /oauth2/auth.
func (h *env) alike(header http.Header) (*process, error) {
	r, err := http.NewRequest(http.MethodGet, h.gate.base+"/oauth2/auth", nil)
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

// signIn makes the cookie that a sign-in would have left in the browser.
func (h *env) signIn(secret string) error {
	keyring, err := keyring.New([]conf.Secret{conf.NewSecret(secret)})
	if err != nil {
		return err
	}
	m := &session.Manager{Keyring: keyring, Config: session.Defaults(), Realm: corpID}
	_, cookie, err := m.Create(context.Background(),
		identity.User{
			UnionID:     "bench-union-id-0123456789",
			UserID:      "zhangsan",
			Username:    "zhangsan",
			Name:        "张三",
			Email:       "zhangsan@example.com",
			Departments: []int64{42, 4201},
			Roles:       []identity.Role{{ID: 1, Name: "主管"}},
		}, identity.Token{})
	if err != nil {
		return err
	}
	h.cookie = "Cookie: " + cookie.Name + "=" + cookie.Value
	return nil
}

func (h *env) close() {
	for _, p := range []*process{h.gate, h.proxy, h.up, h.handler, h.like, h.likeRefused} {
		if p != nil {
			p.stop()
		}
	}
	os.RemoveAll(h.dir)
}
