package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/conf"
	"dinggate/internal/telemetry"
	"dinggate/proxy/access"
)

// runDemo serves everything in one process on loopback: a simulated DingTalk,
// a sample application and the gate between them. Fresh secrets each time, no
// file, no network; it cannot be taken for production.
func runDemo(ctx context.Context, address string, out io.Writer) error {
	records := telemetry.NewWriter(os.Stderr)
	defer records.Close()
	kit := telemetryKit{
		log:     telemetry.Logger(records, "console", logLevels["warn"]),
		access:  &telemetry.AccessLog{Out: records, Console: true},
		metrics: telemetry.NewMetrics(release(), revision(), records.Dropped),
	}
	s := &server{log: kit.log}
	app, err := s.openLoopback("127.0.0.1:0", sampleApp())
	if err != nil {
		return err
	}
	gateListener, err := loopback(address)
	if err != nil {
		return errors.Join(err, s.close())
	}
	public := "http://" + gateListener.Addr().String()
	dingtalk, err := s.openLoopback("127.0.0.1:0", simulator.Demo())
	if err != nil {
		return errors.Join(err, s.close())
	}
	cfg := demoConfig(public, app, dingtalk)
	cfg.LoginAPI = true // for the sample application's own login page
	gate, err := newGate(cfg, memoryStores(), kit)
	if err != nil {
		return errors.Join(err, s.close())
	}
	s.add(gateListener, gate)
	fmt.Fprintf(out, "dinggate demo 演示: open 请打开 %s  (Ctrl-C ends it 结束)\n", public)
	s.end = gate.streams.End
	return s.serve(ctx, gate.run)
}

// demoConfig is what an operator would have written.
func demoConfig(public, app, dingtalk string) *Config {
	var raw [32]byte
	rand.Read(raw[:])
	c := defaultConfig()
	c.PublicURL = public
	c.DingTalk.ClientID, c.DingTalk.ClientSecret, c.DingTalk.CorpID = simulator.DemoClientID, conf.NewSecret(simulator.DemoClientSecret), simulator.DemoCorpID
	c.DingTalk.LoginURL, c.DingTalk.APIURL, c.DingTalk.OAPIURL = dingtalk, dingtalk, dingtalk
	c.Cookie.Secrets = []conf.Secret{conf.NewSecret(base64.StdEncoding.EncodeToString(raw[:]))}
	c.SignIn.Title, c.SignIn.Contact = "示例公司 Example Ltd.", "it@example.com"
	for _, r := range []access.RouteConfig{
		{Path: "/public/", Access: &access.RuleConfig{Named: "public"}},
		{Path: "/admin/", Access: &access.RuleConfig{Departments: []string{"42"}}},
		{Path: "/"},
	} {
		route := defaultRoute()
		route.RouteConfig, route.Upstream = r, app
		c.Routes = append(c.Routes, route)
	}
	return c
}

// loopback listens on address, or, where its port is taken, on a free one.
func loopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("the demo listens on loopback alone, not on %s: its people sign in without a password", address)
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		return net.Listen("tcp", net.JoinHostPort(host, "0"))
	}
	return l, nil
}

// openLoopback serves h and gives its base URL.
func (s *server) openLoopback(address string, h http.Handler) (string, error) {
	l, err := loopback(address)
	if err != nil {
		return "", err
	}
	s.add(l, h)
	return "http://" + l.Addr().String(), nil
}
