package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/web"
)

// schemeH2C is HTTP/2 without TLS, by prior knowledge (RFC 9113 section 3.3).
const schemeH2C = "h2c"

// PassHost says which Host an application gets: `true` (also when empty), that of the
// browser's request; `false`, that of its own address; otherwise this name. Where the
// browser is reaches it in X-Forwarded-Host in any case.
type PassHost string

const (
	passBrowsers PassHost = "true"
	passOwn      PassHost = "false"
)

func (h PassHost) fault() error {
	switch {
	case h == "", h.is(passBrowsers), h.is(passOwn):
		return nil
	}
	if _, err := web.CleanHost(string(h), ""); err != nil {
		return conf.Errorf("is not true, false or a host name")
	}
	return nil
}

func (h PassHost) is(word PassHost) bool { return strings.EqualFold(string(h), string(word)) }

// host is the fixed Host of requests to an upstream at address; "" is the browser's.
func (h PassHost) host(address string) string {
	switch {
	case h == "", h.is(passBrowsers):
		return ""
	case h.is(passOwn):
		return address
	}
	return string(h)
}

// UpstreamTLS is how an https upstream is recognised, and what it recognises us by.
// The zero value trusts the system's authorities and shows no certificate.
type UpstreamTLS struct {
	CAFile         string `yaml:"ca_file"`          // PEM, authorities of its certificate; empty: the system's
	ServerName     string `yaml:"server_name"`      // the name in its certificate; empty: the host in upstream
	ClientCertFile string `yaml:"client_cert_file"` // PEM, our certificate, where it asks for one
	ClientKeyFile  string `yaml:"client_key_file"`  // PEM
}

// Files are those that are named, by key.
func (c UpstreamTLS) Files() map[string]string {
	files := map[string]string{}
	for key, name := range map[string]string{"ca_file": c.CAFile, "client_cert_file": c.ClientCertFile,
		"client_key_file": c.ClientKeyFile} {
		if name != "" {
			files[key] = name
		}
	}
	return files
}

func (c UpstreamTLS) check(p *conf.Problems, key, upstream string) {
	secure := len(upstream) > 8 && strings.EqualFold(upstream[:8], "https://")
	p.At("%s", key).If(c != UpstreamTLS{} && !secure, "needs an https upstream")
	p.At("%s.client_key_file", key).If(c.ClientCertFile != "" && c.ClientKeyFile == "", "is missing beside client_cert_file")
	p.At("%s.client_cert_file", key).If(c.ClientCertFile == "" && c.ClientKeyFile != "", "is missing beside client_key_file")
	_, err := web.CleanHost(c.ServerName, "")
	p.At("%s.server_name", key).If(c.ServerName != "" && (err != nil || strings.Contains(c.ServerName, ":")),
		"is not a host name")
}

// Open reads the files.
func (c UpstreamTLS) Open() (*tls.Config, error) {
	open := &tls.Config{ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		text, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("proxy: reading tls.ca_file: %w", err)
		}
		open.RootCAs = x509.NewCertPool()
		if !open.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("proxy: reading tls.ca_file: it holds no certificate in PEM form")
		}
	}
	if c.ClientCertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.ClientCertFile, c.ClientKeyFile)
		if err != nil {
			return nil, fmt.Errorf("proxy: reading tls.client_cert_file: %w", err)
		}
		open.Certificates = []tls.Certificate{pair}
	}
	return open, nil
}
