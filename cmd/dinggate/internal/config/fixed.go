package config

import (
	"reflect"
	"slices"
	"strings"
)

// fixedKeys cannot change while the process runs: its listeners, its stores, and the
// format of a log that other programs read.
var fixedKeys = []string{"listen", "server", "proxy_protocol", "admin", "envoy_grpc", "session.store", "redis",
	"state_dir", "accounts.binding", "audit", "tracing", "log.format"}

// KeepFixed sets the fixed keys of next to their old values and returns those that
// differed.
func KeepFixed(old, next *Config) (changed []string) {
	fixed := slices.Clone(fixedKeys)
	if old.TLS.On() != next.TLS.On() {
		fixed = append(fixed, "tls")
	}
	if old.EnvoyGRPC.Listen != "" {
		fixed = append(fixed, "prefix")
	}
	was, will := reflect.ValueOf(old).Elem(), reflect.ValueOf(next).Elem()
	for _, k := range Keys() {
		settled := slices.ContainsFunc(fixed, func(f string) bool {
			return k.Path == f || strings.HasPrefix(k.Path, f+".")
		})
		if !settled || k.FileOf != "" ||
			reflect.DeepEqual(was.FieldByIndex(k.Index).Interface(), will.FieldByIndex(k.Index).Interface()) {
			continue
		}
		will.FieldByIndex(k.Index).Set(was.FieldByIndex(k.Index))
		changed = append(changed, k.Path)
	}
	return changed
}
