package config

import (
	"strings"

	"dinggate/internal/conf"
)

// AuditConfig is the `audit` part: where sign-ins and refusals are recorded.
type AuditConfig struct {
	File    string `yaml:"file"`     // JSON lines are appended; empty: they go to the log
	OnError string `yaml:"on_error"` // allow | deny: whether a person may sign in if the record cannot be written
}

// Values of on_error.
const (
	AuditAllow = "allow"
	AuditDeny  = "deny"
)

func (c AuditConfig) Strict() bool { return c.OnError == AuditDeny }

// Check reports every mistake below key (`audit`); it opens nothing.
func (c AuditConfig) Check(p *conf.Problems, key string) {
	p.At("%s.file", key).If(strings.ContainsAny(c.File, "\x00\n"), "is not the path of a file")
	p.At("%s.on_error", key).If(c.OnError != AuditAllow && c.OnError != AuditDeny, "is not allow or deny")
	p.At("%s.on_error", key).If(c.OnError == AuditDeny && c.File == "",
		"is deny, but writing to the log never fails; set audit.file")
}
