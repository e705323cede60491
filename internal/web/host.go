package web

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"
)

var errHost = errors.New("web: host is empty or unreadable")

// CleanHost returns the canonical spelling of a host: lower case, no final dot, no
// default port of scheme (CVE-2026-48794: a host rule evaded by letter case). Anything
// but letters, digits, `-`, `_`, `.` or a bracketed IPv6 address, with an optional
// port, is an error, including user names, homographs from other alphabets, and
// spaces. Idempotent.
func CleanHost(raw, scheme string) (string, error) {
	name, port := raw, ""
	if i := strings.LastIndexByte(raw, ':'); i >= 0 && i > strings.LastIndexByte(raw, ']') {
		name, port = raw[:i], raw[i+1:]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || strings.HasPrefix(port, "+") {
			return "", errHost
		}
		port = strings.TrimLeft(port, "0")
	}
	if strings.HasPrefix(name, "[") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(name[1:], "]"))
		if err != nil || !addr.Is6() || addr.Zone() != "" || !strings.HasSuffix(name, "]") {
			return "", errHost
		}
		name = "[" + addr.String() + "]"
	} else {
		name = strings.TrimSuffix(name, ".")
		if !plainName(name) {
			return "", errHost
		}
		name = strings.ToLower(name)
	}
	if port == "" || port == "80" && scheme == "http" || port == "443" && scheme == "https" {
		return name, nil
	}
	if len(name)+1+len(port) == len(raw) && strings.HasPrefix(raw, name) { // canonical already: no copy
		return raw, nil
	}
	return name + ":" + port, nil
}

func plainName(s string) bool {
	if s == "" || len(s) > 253 || s[0] == '.' || strings.HasSuffix(s, ".") || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// HostName is a canonical host without its port.
func HostName(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i > strings.LastIndexByte(host, ']') {
		return host[:i]
	}
	return host
}
