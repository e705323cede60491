package config

import (
	"time"

	"dinggate/internal/conf"
)

// ServerConfig is the `server` part: how many may come, and how the process stops.
type ServerConfig struct {
	// at a time, to dinggate; 0: what fits into GOMEMLIMIT and the control group, at
	// most half of the files that the process may open
	MaxConnections int `yaml:"max_connections"`

	DrainDelay   time.Duration `yaml:"drain_delay"`   // between "not ready" and the end of new connections; 0: none
	DrainTimeout time.Duration `yaml:"drain_timeout"` // what is in flight then may take; 0: the default
}

// DrainWithin is below the 30 s after which Kubernetes kills.
const DrainWithin = 25 * time.Second

// Check finds the mistakes below key (`server`).
func (c ServerConfig) Check(p *conf.Problems, key string) {
	p.At("%s.max_connections", key).If(c.MaxConnections < 0 || c.MaxConnections > 1<<20,
		"is not a number from 0 to 1048576")
	p.At("%s.drain_delay", key).If(c.DrainDelay < 0 || c.DrainDelay > 5*time.Minute, "is not between 0s and 5m")
	p.At("%s.drain_timeout", key).If(c.DrainTimeout < time.Second || c.DrainTimeout > time.Hour,
		"is not between 1s and 1h")
}
