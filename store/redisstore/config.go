package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"dinggate/internal/conf"
)

// Config is the `redis` part of the configuration. Begin with Defaults.
type Config struct {
	// Timeout is how long a whole operation may take, with the one time that it is
	// tried again; 0 is 500 ms.
	Timeout time.Duration `yaml:"timeout"`

	// URL says where Redis is, in one of these forms; a user and a password may
	// be in it, percent-encoded:
	//
	//	redis://[user:password@]host:port/db
	//	unix://[user:password@]/path/to/redis.sock?db=0
	//	redis-sentinel://host:port,host:port/master/db
	//	redis-cluster://host:port,host:port
	//
	// With rediss://, rediss-sentinel:// and rediss-cluster:// every connection
	// is TLS, those to the sentinels too. The port is 6379 (26379 of a sentinel)
	// and the database 0 where none is given.
	URL conf.Secret `yaml:"url"`

	// ACL user; empty: the one of the URL, otherwise the default user
	Username         string      `yaml:"username"`
	Password         conf.Secret `yaml:"password"`          // empty: the one of the URL
	SentinelUsername string      `yaml:"sentinel_username"` // for the sentinels themselves
	SentinelPassword conf.Secret `yaml:"sentinel_password"`

	Prefix string `yaml:"prefix"` // of every key; replicas that share sessions have the same

	CAFile   string `yaml:"ca_file"`   // PEM, authorities of the server's certificate; empty: the system's
	CertFile string `yaml:"cert_file"` // PEM, our certificate, for a server that asks for one
	KeyFile  string `yaml:"key_file"`  // PEM
}

// Defaults is the `redis` part of an empty configuration file.
func Defaults() Config { return Config{Timeout: opTimeout, Prefix: "dinggate:"} }

// Check finds the mistakes below key (`redis`); it opens and changes nothing,
// and quotes nothing of the URL.
func (c Config) Check(p *conf.Problems, key string) {
	t, err := parse(c.URL.Reveal())
	p.At("%s.url", key).Fault(err)
	p.At("%s.username", key).If(c.Username != "" && t.username != "" && c.Username != t.username,
		"is another user than that of redis.url; keep one")
	p.At("%s.password", key).If(!c.Password.IsZero() && t.password != "",
		"is given, and so is a password in redis.url; keep one")
	p.At("%s.sentinel_password", key).If(!c.SentinelPassword.IsZero() && err == nil && t.kind != sentinel,
		"is given, but redis.url names no sentinels")
	c.CheckPrefix(p, key)
	files := c.CAFile != "" || c.CertFile != "" || c.KeyFile != ""
	p.At("%s.ca_file", key).If(files && err == nil && !t.tls,
		"or cert_file is given, but redis.url speaks no TLS; write rediss://")
	p.At("%s.key_file", key).If(c.CertFile != "" && c.KeyFile == "", "is missing beside redis.cert_file")
	p.At("%s.cert_file", key).If(c.CertFile == "" && c.KeyFile != "", "is missing beside redis.key_file")
}

// CheckPrefix is the part of Check that needs no server.
func (c Config) CheckPrefix(p *conf.Problems, key string) {
	p.At("%s.prefix", key).If(strings.ContainsAny(c.Prefix, "{} \t\r\n"),
		"holds a brace or a blank; with a brace all keys would lie on one node of a cluster")
	p.At("%s.prefix", key).If(len(c.Prefix) > 64, "is longer than 64 characters")
}

// Secure reports whether the connections are TLS: only then the files are read.
func (c Config) Secure() bool {
	t, _ := parse(c.URL.Reveal())
	return t.tls
}

// tlsConfig reads the files; nil without TLS.
func (c Config) tlsConfig(t target) (*tls.Config, error) {
	if !t.tls {
		return nil, nil
	}
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("redisstore: reading ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("redisstore: ca_file holds no certificate in PEM form")
		}
	}
	if c.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("redisstore: reading cert_file and key_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// Bounds of what one process asks of Redis. An operation that has not finished
// by then is a failure: a request is answered 503 in well under a second.
const (
	opTimeout   = 500 * time.Millisecond // a whole operation, with the wait for a connection
	connections = 32                     // to each node
)
