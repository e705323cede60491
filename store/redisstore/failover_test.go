package redisstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/internal/tlstest"
	"dinggate/store"
	"dinggate/store/storetest"
)

// TestSentinelFailover: the master dies; its records are available a moment later, writes
// continue, and followers detect it and follow again (threats V16).
func TestSentinelFailover(t *testing.T) {
	master := realtool.StartRedis(t)
	replica := realtool.StartRedis(t, "--replicaof", strings.Replace(master.Addr, ":", " ", 1))
	replica.Await("its master", func() bool {
		return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up")
	})
	watcher := realtool.StartSentinel(t, master, 1)
	url := "redis-sentinel://" + realtool.FreeAddr(t) + "," + watcher.Addr + "/main" // the first sentinel is unreachable
	a, b := open(t, url), open(t, url)
	l := storetest.Listen(t, b)
	l.Live(t)
	for i := range 50 {
		if err := a.Put(t.Context(), fmt.Sprint("k", i), fmt.Append(nil, i), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Append(t.Context(), []byte("before")); err != nil {
		t.Fatal(err)
	}
	l.Receives(t, "before")
	replica.Await("all of its master", func() bool {
		return strings.Contains(replica.Do("DBSIZE"), strings.TrimSpace(master.Do("DBSIZE"))) &&
			replica.Do("XLEN", "dinggate:journal") == master.Do("XLEN", "dinggate:journal")
	})

	master.Kill()
	l.Wait(t, "live(false)", ends(false))
	watcher.Await("a new master", func() bool { return a.Ping(t.Context()) == nil })
	l.Live(t)
	for i := range 50 {
		if v, err := a.Get(t.Context(), fmt.Sprint("k", i)); err != nil || string(v) != fmt.Sprint(i) {
			t.Errorf("Get after the failover = %q, %v, want %d", v, err, i)
		}
	}
	if err := a.Append(t.Context(), []byte("after")); err != nil {
		t.Errorf("Append after the failover = %v", err)
	}
	l.Receives(t, "after")
}

// clusterACL is what a cluster requires besides acl.
const clusterACL = " +cluster|slots +cluster|shards +asking"

// TestClusterFailover: a master of a cluster dies, and its replica takes over; the user has only
// the permissions in docs/scaling.md.
func TestClusterFailover(t *testing.T) {
	url, masters := startCluster(t, 3)
	spare := clusterNode(t)
	realtool.MeetCluster(spare, masters[0])
	id := strings.TrimSpace(masters[0].Do("CLUSTER", "MYID"))
	spare.Await("a cluster", func() bool { return spare.Do("CLUSTER", "REPLICATE", id) == "OK\n" })
	spare.Await("its master", func() bool {
		return strings.Contains(spare.Do("INFO", "replication"), "master_link_status:up")
	})
	for _, r := range append(masters, spare) {
		if got := r.Do(append([]string{"ACL", "SETUSER"},
			strings.Fields(strings.TrimPrefix(acl, "user ")+clusterACL)...)...); got != "OK\n" {
			t.Fatalf("ACL SETUSER = %q", got)
		}
	}
	s := open(t, strings.Replace(url, "://", "://gate:canary-77@", 1))
	var keys []string
	for i := range 60 {
		keys = append(keys, fmt.Sprint("k", i))
		if err := s.Put(t.Context(), keys[i], []byte(keys[i]), time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	spare.Await("all of its master, and the cluster to know of it", func() bool {
		return spare.Do("DBSIZE") == masters[0].Do("DBSIZE") &&
			strings.Contains(masters[1].Do("CLUSTER", "NODES"), "slave "+id)
	})
	masters[0].Kill()
	lost := func() (n int) {
		for _, key := range keys {
			v, err := s.Get(t.Context(), key)
			if errors.Is(err, store.ErrNotFound) || err == nil && string(v) != key {
				t.Fatalf("Get(%s) in the failover = %q, %v: an answer that is wrong", key, v, err)
			}
			if err != nil {
				n++
			}
		}
		return n
	}
	if lost() == 0 {
		t.Error("no key was on the node that died: the test tests nothing")
	}
	masters[1].Await("a new master", func() bool { return lost() == 0 })
	for _, key := range keys {
		if err := s.Put(t.Context(), key, []byte(key), time.Hour); err != nil {
			t.Errorf("Put after the failover = %v", err)
		}
	}
}

// TestTLS: the server authenticates with its certificate and requires ours.
func TestTLS(t *testing.T) {
	authority := tlstest.NewAuthority()
	ca := authority.File(t)
	serverCert, serverKey := authority.Files(t, tlstest.Leaf{Names: []string{"127.0.0.1"}})
	clientCert, clientKey := authority.Files(t, tlstest.Leaf{Names: []string{"client"}, Client: true})
	server := realtool.StartRedis(t)
	port := portOf(realtool.FreeAddr(t))
	for _, set := range [][2]string{{"tls-cert-file", serverCert}, {"tls-key-file", serverKey},
		{"tls-ca-cert-file", ca}, {"tls-port", port}} {
		if got := server.Do("CONFIG", "SET", set[0], set[1]); got != "OK\n" {
			t.Skipf("SKIPPED: this redis-server speaks no TLS: %s", got)
		}
	}
	url := "rediss://127.0.0.1:" + port
	ours := func(c *Config) {
		c.CAFile, c.CertFile, c.KeyFile = ca, clientCert, clientKey
	}
	storetest.Run(t, func(t *testing.T) store.Store {
		server.Do("FLUSHALL")
		return open(t, url, ours)
	})
	for name, set := range map[string]func(*Config){
		"an unknown authority":       func(c *Config) { ours(c); c.CAFile = "" },
		"none of our certificates":   func(c *Config) { ours(c); c.CertFile, c.KeyFile = "", "" },
		"a server of another name":   func(c *Config) { ours(c); c.URL = conf.NewSecret("rediss://localhost:" + port) },
		"a server that speaks plain": func(c *Config) { ours(c); c.URL = conf.NewSecret("rediss://" + server.Addr) },
	} {
		if err := open(t, url, set).Ping(t.Context()); err == nil {
			t.Errorf("Ping(%s) = nil, want a failure", name)
		}
	}
	for want, set := range map[string]func(*Config){
		"ca_file":                func(c *Config) { c.CAFile = ca + ".none" },
		"certificate in PEM":     func(c *Config) { c.CAFile = serverKey },
		"cert_file and key_file": func(c *Config) { c.CertFile, c.KeyFile = serverCert, clientKey },
	} {
		c := Config{URL: conf.NewSecret(url)}
		set(&c)
		if _, err := Open(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(bad files) = %v, want it to name %s", err, want)
		}
	}
}
