package proxy

import (
	"crypto/tls"
	"fmt"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/tlsfile"
	"dinggate/internal/web"
)

// schemeH2C is HTTP/2 without TLS, by prior knowledge (RFC 9113 section 3.3).
const schemeH2C = "h2c"

// PassHost is the Host header that an application receives: `true` (also when empty),
// that of the browser's request; `false`, the host of its own address; otherwise this
// name. The browser's host is sent as X-Forwarded-Host in any case.
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

// UpstreamTLS is how an https upstream is authenticated, and how we authenticate to
// it. The zero value trusts the system's authorities and sends no client certificate.
type UpstreamTLS struct {
	CAFile         string `yaml:"ca_file"`          // PEM, the authorities for its certificate; empty: the system's
	ServerName     string `yaml:"server_name"`      // the name in its certificate; empty: the host in upstream
	ClientCertFile string `yaml:"client_cert_file"` // PEM, our client certificate, if it requires one
	ClientKeyFile  string `yaml:"client_key_file"`  // PEM
}

// Files are the paths that are set, by key (`ca_file`).
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
	p.At("%s.client_key_file", key).If(c.ClientCertFile != "" && c.ClientKeyFile == "",
		"is missing; client_cert_file is set")
	p.At("%s.client_cert_file", key).If(c.ClientCertFile == "" && c.ClientKeyFile != "",
		"is missing; client_key_file is set")
	_, err := web.CleanHost(c.ServerName, "")
	p.At("%s.server_name", key).If(c.ServerName != "" && (err != nil || strings.Contains(c.ServerName, ":")),
		"is not a host name")
}

// Open reads the files and returns a configuration for a client. The error names the key.
func (c UpstreamTLS) Open() (*tls.Config, error) {
	authorities, err := tlsfile.Authorities(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("proxy: reading tls.ca_file: %w", err)
	}
	ours, err := tlsfile.Pair(c.ClientCertFile, c.ClientKeyFile)
	if err != nil {
		return nil, fmt.Errorf("proxy: reading tls.client_cert_file: %w", err)
	}
	return &tls.Config{
		ServerName:   c.ServerName,
		MinVersion:   tls.VersionTLS12,
		RootCAs:      authorities,
		Certificates: ours,
	}, nil
}
