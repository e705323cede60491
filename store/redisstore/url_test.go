package redisstore

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"dinggate/internal/conf"
)

func TestURL(t *testing.T) {
	for _, row := range []struct {
		url, want string // kind tls addrs user password db master
		err       error
	}{
		{"redis://127.0.0.1:6379/0", "0 false [127.0.0.1:6379]   0 ", nil},
		{"redis://cache", "0 false [cache:6379]   0 ", nil},
		{"redis://cache/", "0 false [cache:6379]   0 ", nil},
		{"REDISS://cache:1/7", "0 true [cache:1]   7 ", nil},
		{"redis://:p%40s%2Fs@cache:1", "0 false [cache:1]  p@s/s 0 ", nil},
		{"redis://gate:secret@[::1]:1/2", "0 false [[::1]:1] gate secret 2 ", nil},
		{"redis://[::1]", "0 false [[::1]:6379]   0 ", nil},
		{"unix:///run/redis.sock", "1 false [/run/redis.sock]   0 ", nil},
		{"unix://u:p@/run/redis.sock?db=3", "1 false [/run/redis.sock] u p 3 ", nil},
		{"redis-sentinel://a,b:2/main", "2 false [a:26379 b:2]   0 main", nil},
		{"rediss-sentinel://u:p@a:1,b:2/main/4", "2 true [a:1 b:2] u p 4 main", nil},
		{"redis-cluster://a:1,b", "3 false [a:1 b:6379]   0 ", nil},
		{"rediss-cluster://u:p@a:1/0", "3 true [a:1] u p 0 ", nil},

		{"", "", errNoURL},
		{"cache:6379", "", errScheme},
		{"http://cache", "", errScheme},
		{"redis:/cache", "", errScheme},
		{"redis://", "", errHost},
		{"redis:///0", "", errHost},
		{"redis://cache:0", "", errHost},
		{"redis://cache:65536", "", errHost},
		{"redis://cache:x", "", errHost},
		{"redis://::1", "", errHost},
		{"redis://a b", "", errHost},
		{"redis://a,b", "", errMany},
		{"redis://u:p%@a", "", errUser},
		{"redis://u:p@ss@a", "", errUser},
		{"redis://a/x", "", errDB},
		{"redis://a/-1", "", errDB},
		{"redis://a/1024", "", errDB},
		{"redis://a/1/2", "", errDB},
		{"redis://a?db=1", "", errQuery},
		{"redis://a#x", "", errQuery},
		{"unix://run/redis.sock", "", errSocket},
		{"unix://", "", errSocket},
		{"unix:///s?timeout=1", "", errQuery},
		{"redis-sentinel://a", "", errMaster},
		{"redis-sentinel://a,/main", "", errHost},
		{"redis-cluster://a/1", "", errPath},
	} {
		got, err := parse(row.url)
		if !errors.Is(err, row.err) {
			t.Errorf("parse(%q) = %v, want %v", row.url, err, row.err)
		}
		if text := fmt.Sprint(int(got.kind), got.tls, got.addrs, " ", got.username, " ", got.password, " ", got.db,
			" ", got.master); err == nil &&
			strings.ReplaceAll(text, "  ", " ") != strings.ReplaceAll(row.want, "  ", " ") {
			t.Errorf("parse(%q) = %q, want %q", row.url, text, row.want)
		}
	}
}

// FuzzURL: an accepted URL names hosts that can be dialled, and no mistake quotes the text, since
// it may contain a password.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"redis://u:p@h:1/0", "redis-sentinel://a,b:1/m/1", "redis-cluster://[::1]:1,b",
		"unix:///s?db=1", "redis://u:p@@h", "redis://[:1]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, url string) {
		const secret = "s3cr3t-mark"
		for _, with := range []string{url + secret, secret + url, strings.Replace(url, "@", secret+"@", 1)} {
			if _, err := parse(with); err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("parse(%q) = %v, which repeats a part of it", with, err)
			}
		}
		got, err := parse(url)
		if err != nil {
			return
		}
		for _, addr := range got.addrs {
			host, port, err := net.SplitHostPort(addr)
			if got.kind != socket && (err != nil || host == "" || port == "" || strings.ContainsAny(host, "@/ ")) ||
				got.kind == socket && addr[0] != '/' {
				t.Errorf("parse(%q) names %q", url, addr)
			}
		}
		if len(got.addrs) == 0 || got.db < 0 || (got.kind == sentinel) != (got.master != "") {
			t.Errorf("parse(%q) = %+v", url, got)
		}
	})
}

func TestConfigMistakes(t *testing.T) {
	secret := conf.NewSecret
	for _, row := range []struct {
		c    Config
		want string
	}{
		{Config{}, "redis.url is missing; write redis://host:6379/0"},
		{Config{URL: secret("redis://u:canary@h"), Username: "v", Password: secret("canary2")},
			"redis.password is set, and redis.url contains a password too; remove one|redis.username differs " +
				"from the user in redis.url; remove one"},
		{Config{URL: secret("redis://127.0.0.1"), SentinelPassword: secret("canary")},
			"redis.sentinel_password is set, but redis.url is not redis-sentinel://"},
		{Config{URL: secret("redis://localhost"), CAFile: "ca"},
			"redis.ca_file or cert_file is set, but redis.url does not use TLS; write rediss://"},
		{Config{URL: secret("rediss://h"), CertFile: "c"}, "redis.key_file is missing; redis.cert_file is set"},
		{Config{URL: secret("rediss://h"), KeyFile: "k"}, "redis.cert_file is missing; redis.key_file is set"},
		{Config{URL: secret("rediss://h"), Prefix: "{a}:"},
			"redis.prefix contains a brace or a space; with a brace all keys would be on one node of a cluster"},
		{Config{URL: secret("unix:///s")}, ""},
		{Config{URL: secret("rediss://h"), CAFile: "ca", CertFile: "c", KeyFile: "k"}, ""},
	} {
		var p conf.Problems
		row.c.Check(&p, "redis")
		var got []string
		for _, problem := range p.All() {
			got = append(got, problem.String())
		}
		if strings.Join(got, "|") != row.want {
			t.Errorf("Check(%s) = %q, want %q", row.c.URL.Reveal(), got, row.want)
		}
	}
}
