package config

import (
	"strings"

	"dinggate/internal/conf"
)

// AuditConfig is the `audit` part: where it is kept who entered and who did not.
type AuditConfig struct {
	File    string `yaml:"file"`     // JSON lines are appended; empty: the log takes them
	OnError string `yaml:"on_error"` // allow | deny: whether somebody may sign in whose record cannot be written
}

// What on_error may say.
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
		"is deny, but the log never refuses a record; name audit.file")
}
