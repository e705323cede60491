package redisstore

import (
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/tlsfile"
)

// Config is the `redis` part of the configuration. Begin with Defaults.
type Config struct {
	// Timeout bounds a whole operation, including its one retry; 0 is 500 ms.
	Timeout time.Duration `yaml:"timeout"`

	// URL is the address of Redis, in one of these forms; it may contain a user and a password,
	// percent-encoded:
	//
	//	redis://[user:password@]host:port/db
	//	unix://[user:password@]/path/to/redis.sock?db=0
	//	redis-sentinel://host:port,host:port/master/db
	//	redis-cluster://host:port,host:port
	//
	// With rediss://, rediss-sentinel:// and rediss-cluster:// every connection uses TLS, also
	// those to the sentinels. The default port is 6379 (26379 of a sentinel), the default database
	// is 0.
	URL conf.Secret `yaml:"url"`

	// ACL user; if empty, that of the URL, otherwise the default user
	Username         string      `yaml:"username"`
	Password         conf.Secret `yaml:"password"`          // if empty, that of the URL
	SentinelUsername string      `yaml:"sentinel_username"` // for the sentinels themselves
	SentinelPassword conf.Secret `yaml:"sentinel_password"`

	Prefix string `yaml:"prefix"` // of every key; replicas that share sessions have the same

	CAFile   string `yaml:"ca_file"`   // PEM, authorities of the server's certificate; if empty, the system's
	CertFile string `yaml:"cert_file"` // PEM, our certificate, for a server that requires one
	KeyFile  string `yaml:"key_file"`  // PEM
}

// Defaults is the `redis` part of an empty configuration file.
func Defaults() Config { return Config{Timeout: opTimeout, Prefix: "dinggate:"} }

// Check reports the mistakes below key (`redis`) and quotes nothing of the URL.
func (c Config) Check(p *conf.Problems, key string) {
	t, err := parse(c.URL.Reveal())
	p.At("%s.url", key).Fault(err)
	p.At("%s.username", key).If(c.Username != "" && t.username != "" && c.Username != t.username,
		"differs from the user in redis.url; remove one")
	p.At("%s.password", key).If(!c.Password.IsZero() && t.password != "",
		"is set, and redis.url contains a password too; remove one")
	p.At("%s.sentinel_password", key).If(!c.SentinelPassword.IsZero() && err == nil && t.kind != sentinel,
		"is set, but redis.url is not redis-sentinel://")
	c.CheckPrefix(p, key)
	files := c.CAFile != "" || c.CertFile != "" || c.KeyFile != ""
	p.At("%s.ca_file", key).If(files && err == nil && !t.tls,
		"or cert_file is set, but redis.url does not use TLS; write rediss://")
	p.At("%s.key_file", key).If(c.CertFile != "" && c.KeyFile == "", "is missing; redis.cert_file is set")
	p.At("%s.cert_file", key).If(c.CertFile == "" && c.KeyFile != "", "is missing; redis.key_file is set")
}

// CheckPrefix is the part of Check that does not depend on the server.
func (c Config) CheckPrefix(p *conf.Problems, key string) {
	p.At("%s.prefix", key).If(strings.ContainsAny(c.Prefix, "{} \t\r\n"),
		"contains a brace or a space; with a brace all keys would be on one node of a cluster")
	p.At("%s.prefix", key).If(len(c.Prefix) > 64, "is longer than 64 characters")
}

// Secure reports whether the connections use TLS: only then the files are read.
func (c Config) Secure() bool {
	t, _ := parse(c.URL.Reveal())
	return t.tls
}

// tlsConfig reads the files; nil without TLS.
func (c Config) tlsConfig(t target) (*tls.Config, error) {
	if !t.tls {
		return nil, nil
	}
	authorities, err := tlsfile.Authorities(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("redisstore: reading ca_file: %w", err)
	}
	ours, err := tlsfile.Pair(c.CertFile, c.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("redisstore: reading cert_file and key_file: %w", err)
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities, Certificates: ours}, nil
}

// Bounds of one process. An operation that has not finished in this time fails: a request is
// answered with 503 in well under a second.
const (
	opTimeout   = 500 * time.Millisecond // a whole operation, including the wait for a connection
	connections = 32                     // to each node
)
