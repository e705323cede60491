package config

import (
	"time"

	"dinggate/internal/conf"
)

// ServerConfig is the `server` part: the limit on connections, and how the process stops.
type ServerConfig struct {
	// concurrent client connections; 0: what fits into GOMEMLIMIT and the control group's
	// limit, at most half of the files that the process may open
	MaxConnections int `yaml:"max_connections"`

	DrainDelay   time.Duration `yaml:"drain_delay"`   // between "not ready" and closing the listeners; 0: none
	DrainTimeout time.Duration `yaml:"drain_timeout"` // limit for requests in flight; 0: the default
}

// DrainWithin is less than the 30 s after which Kubernetes kills a process.
const DrainWithin = 25 * time.Second

// Check reports the mistakes below key (`server`).
func (c ServerConfig) Check(p *conf.Problems, key string) {
	p.At("%s.max_connections", key).If(c.MaxConnections < 0 || c.MaxConnections > 1<<20,
		"is not a number from 0 to 1048576")
	p.At("%s.drain_delay", key).If(c.DrainDelay < 0 || c.DrainDelay > 5*time.Minute, "is not between 0s and 5m")
	p.At("%s.drain_timeout", key).If(c.DrainTimeout < time.Second || c.DrainTimeout > time.Hour,
		"is not between 1s and 1h")
}
