package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"
)

const certFile, keyFile = "cert.pem", "key.pem"

// condition is a way to send the authorization subrequest, to a bare handler and to dinggate.
type condition struct {
	name, zh    string
	cores       string // that the server may use
	settings    []string
	connections int
	tls, http2  bool
}

// underConditions compares CPU per authorization subrequest with one and two cores, with few
// and many connections, with TLS and over HTTP/2.
func (h *env) underConditions(rounds int, d time.Duration) error {
	if err := h.certificate(); err != nil {
		return err
	}
	list := []condition{
		{name: "TLS, 32 connections", zh: "TLS，32 个连接", cores: "0", connections: 32, tls: true},
		{name: "HTTP/2, 32 connections", zh: "HTTP/2，32 个连接", cores: "0", connections: 32, tls: true, http2: true},
	}
	for i, cores := range []string{"0", "0,1"} {
		procs := strconv.Itoa(i + 1)
		for _, n := range []int{32, 256, 2048} {
			list = append(list, condition{
				name:        fmt.Sprintf("GOMAXPROCS=%s, %d connections", procs, n),
				zh:          fmt.Sprintf("GOMAXPROCS=%s，%d 个连接", procs, n),
				cores:       cores,
				settings:    []string{"GOMAXPROCS=" + procs},
				connections: n,
			})
		}
	}
	for _, c := range list {
		if err := h.under(c, rounds, d); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return nil
}

func (h *env) under(c condition, rounds int, d time.Duration) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	kind, settings := "handler", slices.Concat(h.dinggateEnv, c.settings)
	if c.tls {
		kind = "handler-tls"
		settings = append(settings, "DINGGATE_TLS_CERT_FILE="+filepath.Join(h.dir, certFile),
			"DINGGATE_TLS_KEY_FILE="+filepath.Join(h.dir, keyFile))
	}
	bare, err := startOn(c.cores, c.settings, self, "yardstick", kind, h.dir)
	if err != nil {
		return err
	}
	defer bare.stop()
	ours, err := startOn(c.cores, settings, h.binary, "serve")
	if err != nil {
		return err
	}
	defer ours.stop()
	headers := append(h.authRequest(), h.cookie)
	send := press
	if c.http2 {
		send = pressHTTP2
	}
	var bares, all []time.Duration
	for range rounds {
		a, err := send(bare, "/oauth2/auth", headers, d, c.connections)
		if err != nil {
			return err
		}
		b, err := send(ours, "/oauth2/auth", headers, d, c.connections)
		if err != nil {
			return err
		}
		if a.errors+b.errors > 0 {
			return fmt.Errorf("%d answers are no 2xx", a.errors+b.errors)
		}
		bares, all = append(bares, a.cpu), append(all, b.cpu)
	}
	at := compare(bares, all)
	at.name, at.zh = c.name, c.zh
	h.conditions = append(h.conditions, at)
	fmt.Printf("%-32s %10v %9v %6.2f %6.2f (%.2f … %.2f)\n", c.name, tenths(at.bare), tenths(at.ours), at.ratio,
		at.median, at.least, at.most)
	return nil
}

var (
	h2Total = regexp.MustCompile(`requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded`)
	h2Proto = regexp.MustCompile(`Application protocol: h2`)
)

// pressHTTP2 is press with h2load, one request at a time on each connection.
func pressHTTP2(p *process, path string, headers []string, d time.Duration, connections int,
	_ ...string) (load, error) {
	args := []string{"-c", "1", "h2load", "-t", "1", "-c", strconv.Itoa(connections), "-m", "1", "-D",
		strconv.Itoa(int(d.Seconds()))}
	for _, h := range headers {
		args = append(args, "-H", h)
	}
	before, err := p.cpu()
	if err != nil {
		return load{}, err
	}
	out, err := exec.Command("taskset", append(args, p.base+path)...).Output()
	if err != nil {
		return load{}, fmt.Errorf("h2load (install it with `make tools`): %w", err)
	}
	after, err := p.cpu()
	if err != nil {
		return load{}, err
	}
	if !h2Proto.Match(out) {
		return load{}, errors.New("h2load spoke another protocol than h2")
	}
	m := h2Total.FindSubmatch(out)
	if m == nil {
		return load{}, fmt.Errorf("h2load counted no request: %s", out)
	}
	done, err := strconv.Atoi(string(m[2]))
	if err != nil || done == 0 {
		return load{}, fmt.Errorf("h2load counted no request: %s", out)
	}
	good, err := strconv.Atoi(string(m[3]))
	return load{requests: done, errors: done - good, cpu: (after - before) / time.Duration(done)}, err
}

// certificate creates a certificate for 127.0.0.1.
func (h *env) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(h.dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
