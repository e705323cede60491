package main

import (
	"reflect"
	"slices"
	"strings"
)

// fixedKeys are settled when the process starts: its listeners, its stores, and
// the form of a log that others are reading.
var fixedKeys = []string{"listen", "server", "proxy_protocol", "admin", "envoy_grpc", "session.store", "redis", "state_dir", "accounts.binding", "audit", "tracing", "log.format"}

// keepFixed gives next the old values of what cannot change while we serve, and
// names the keys that wanted to.
func keepFixed(old, next *Config) (changed []string) {
	fixed := slices.Clone(fixedKeys)
	if old.TLS.On() != next.TLS.On() {
		fixed = append(fixed, "tls")
	}
	if old.EnvoyGRPC.Listen != "" {
		fixed = append(fixed, "prefix")
	}
	was, will := reflect.ValueOf(old).Elem(), reflect.ValueOf(next).Elem()
	for _, k := range allKeys() {
		settled := slices.ContainsFunc(fixed, func(f string) bool { return k.path == f || strings.HasPrefix(k.path, f+".") })
		if !settled || k.fileOf != "" || reflect.DeepEqual(was.FieldByIndex(k.index).Interface(), will.FieldByIndex(k.index).Interface()) {
			continue
		}
		will.FieldByIndex(k.index).Set(was.FieldByIndex(k.index))
		changed = append(changed, k.path)
	}
	return changed
}
