package redisstore

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/store"
	"dinggate/store/storetest"

	"github.com/alicebob/miniredis/v2"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if url := os.Getenv("REDISSTORE_REBIND_CHILD"); url != "" {
		rebindChild(url)
		return
	}
	goleak.VerifyTestMain(m)
}

// open opens a store with enough time for a loaded machine; impatient leaves the product's timeout.
func open(t *testing.T, url string, set ...func(*Config)) *Store {
	t.Helper()
	c := Defaults()
	c.Timeout = 10 * time.Second
	c.URL = conf.NewSecret(url)
	for _, f := range set {
		f(&c)
	}
	s, err := Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func impatient(c *Config) { c.Timeout = 0 }

// passing moves the clock of a miniredis, which does not advance by itself.
type passing struct {
	*Store
	server *miniredis.Miniredis
}

func (p passing) Pass(d time.Duration) { p.server.FastForward(d) }

func TestStoreOnMiniredis(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		server := miniredis.RunT(t)
		return passing{open(t, "redis://"+server.Addr()+"/0"), server}
	})
}

func TestStoreOnRedis(t *testing.T) {
	server := realtool.StartRedis(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		server.Do("FLUSHALL")
		return open(t, server.URL())
	})
}

func TestStoreOnSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "redis") // the path of a socket is limited to 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	server := realtool.StartRedis(t, "--unixsocket", path)
	storetest.Run(t, func(t *testing.T) store.Store {
		server.Do("FLUSHALL")
		return open(t, "unix://"+path+"?db=3")
	})
	if err := open(t, "unix://"+path+"?db=3").Put(t.Context(), "k", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := server.Do("INFO", "keyspace"); !strings.Contains(got, "db3:") {
		t.Errorf("after ?db=3 the keyspace is %q", got)
	}
}

// acl are all permissions of dinggate's Redis user; docs/scaling.md documents them.
const acl = "user gate on >canary-77 resetkeys ~dinggate:* resetchannels -@all +hello +auth +ping +select +get " +
	"+set +getdel +xadd +xread +xrange +xtrim +pexpire"

// TestDocumentedUser runs the tests with the documented permissions.
func TestDocumentedUser(t *testing.T) {
	_, rights, _ := strings.Cut(acl, "resetkeys")
	for _, page := range []string{"../../docs/scaling.md", "../../docs/scaling.zh-CN.md"} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"resetkeys" + rights + "\n", clusterACL, bindingsACL} {
			if !strings.Contains(string(text), strings.TrimPrefix(want, " ")) {
				t.Errorf("%s does not show %q", page, want)
			}
		}
	}
}

func TestNarrowUser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acl")
	// Swap is a script
	if err := os.WriteFile(file, []byte("user default off\n"+acl+" +eval +evalsha\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := realtool.StartRedis(t, "--aclfile", file)
	url := "redis://gate:canary-77@" + server.Addr
	storetest.Run(t, func(t *testing.T) store.Store { // every subtest uses keys of its own prefix
		return open(t, url, func(c *Config) { c.Prefix = "dinggate:" + t.Name() + ":" })
	})
	storetest.RunJournal(t, func(t *testing.T) func() store.Journal {
		return func() store.Journal {
			return open(t, url, func(c *Config) { c.Prefix = "dinggate:" + t.Name() + ":" })
		}
	})
	for name, set := range map[string]func(*Config){
		"wrong password": func(c *Config) {
			c.URL, c.Username, c.Password = conf.NewSecret("redis://"+server.Addr), "gate",
				conf.NewSecret("canary-wrong")
		},
		"no password":  func(c *Config) { c.URL = conf.NewSecret("redis://" + server.Addr) },
		"other prefix": func(c *Config) { c.Prefix = "elsewhere:" },
	} {
		err := open(t, url, set).Ping(t.Context())
		if Reason(err) != "noauth" {
			t.Errorf("Ping(%s) = %v (%s), want noauth", name, err, Reason(err))
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("Ping(%s) = %v, which shows the password", name, err)
		}
	}
	split := open(t, url, func(c *Config) {
		c.URL, c.Username, c.Password = conf.NewSecret("redis://"+server.Addr), "gate", conf.NewSecret("canary-77")
	})
	if err := split.Ping(t.Context()); err != nil {
		t.Errorf("Ping(username and password apart) = %v", err)
	}
}

func TestOldRedisTakes(t *testing.T) { // before 6.2 there is no GETDEL
	server := realtool.StartRedis(t, "--rename-command", "GETDEL", "")
	storetest.Run(t, func(t *testing.T) store.Store {
		server.Do("FLUSHALL")
		return open(t, server.URL())
	})
}

func TestCluster(t *testing.T) {
	url, _ := startCluster(t, 3)
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, url, func(c *Config) { c.Prefix = t.Name() + ":" })
	})
	storetest.RunJournal(t, func(t *testing.T) func() store.Journal {
		return func() store.Journal { return open(t, url, func(c *Config) { c.Prefix = t.Name() + ":" }) }
	})
	alone := open(t, strings.Replace(strings.Split(url, ",")[0], "redis-cluster", "redis", 1))
	seen := map[string]bool{}
	for i := range 20 {
		err := alone.Put(t.Context(), strings.Repeat("k", i+1), nil, time.Minute)
		seen[Reason(err)] = true
		if Reason(err) == "moved" && !strings.Contains(err.Error(), "redis-cluster://") {
			t.Errorf("Put(a node of a cluster) = %v, which does not say what to write", err)
		}
	}
	if !seen["moved"] {
		t.Errorf("a node of a cluster taken for a server alone gives %v, want moved", seen)
	}
}

func clusterNode(t *testing.T) *realtool.Redis {
	return realtool.StartRedis(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes",
		"--cluster-node-timeout", "2000",
		"--cluster-port", portOf(realtool.FreeAddr(t)))
}

// startCluster starts masters that share the slots.
func startCluster(t *testing.T, nodes int) (url string, all []*realtool.Redis) {
	return realtool.StartCluster(t, nodes, 2*time.Second, "yes")
}

func portOf(addr string) string { _, port, _ := net.SplitHostPort(addr); return port }

func TestJournalOnMiniredis(t *testing.T) {
	storetest.RunJournal(t, func(t *testing.T) func() store.Journal {
		server := miniredis.RunT(t)
		return func() store.Journal { return open(t, "redis://"+server.Addr()) }
	})
}

func TestJournalOnRedis(t *testing.T) {
	server := realtool.StartRedis(t)
	storetest.RunJournal(t, func(t *testing.T) func() store.Journal {
		server.Do("FLUSHALL")
		return func() store.Journal { return open(t, server.URL()) }
	})
}

func ends(up bool) func(_ []string, lives []bool) bool {
	return func(_ []string, lives []bool) bool { return len(lives) > 0 && lives[len(lives)-1] == up }
}

func TestJournalNoticesFailure(t *testing.T) {
	server := realtool.StartRedis(t)
	a, b := open(t, server.URL()), open(t, server.URL())
	l := storetest.Listen(t, a)
	l.Live(t)

	server.Hang() // half open: the connection stays, no data arrives
	l.Wait(t, "live(false) of a server that hangs", ends(false))
	if err := b.Append(t.Context(), []byte("lost?")); Reason(err) != "timeout" {
		t.Errorf("Append(hanging) = %v (%s), want timeout", err, Reason(err))
	}
	server.Wake()
	l.Live(t)

	server.Kill()
	l.Wait(t, "live(false) of a dead server", ends(false))
	if err := b.Append(t.Context(), []byte("lost")); Reason(err) != "refused" {
		t.Errorf("Append(dead) = %v (%s), want refused", err, Reason(err))
	}
	server.Start() // empty: nothing was stored
	l.Live(t)
	if err := b.Append(t.Context(), []byte("after the restart")); err != nil {
		t.Errorf("Append(after the restart) = %v", err)
	}
	l.Receives(t, "after the restart")
}

func TestJournalNoticesLoss(t *testing.T) {
	server := realtool.StartRedis(t)
	a := open(t, server.URL())
	l := storetest.Listen(t, a)
	l.Live(t)
	server.Do("FLUSHALL") // no connection breaks
	l.Wait(t, "live(false), then live(true)", func(_ []string, lives []bool) bool {
		return len(lives) >= 3 && !lives[1] && lives[2]
	})

	server.Do("REPLICAOF", "127.0.0.1", "1") // demoted, still reachable, and stale from now on
	l.Wait(t, "live(false) of a demoted master", ends(false))
	server.Await("a refusal to write", func() bool { // after the connections that it closed
		err := a.Ping(t.Context())
		if err == nil {
			t.Error("Ping(replica) = nil, want a failure")
		}
		return Reason(err) == "readonly"
	})
	server.Do("REPLICAOF", "NO", "ONE")
	l.Live(t)
}

func TestJournalIsBounded(t *testing.T) {
	server := realtool.StartRedis(t)
	s := open(t, server.URL())
	for range 3 * journalMax / 100 {
		if _, err := s.client.Pipelined(t.Context(), func(p redisPipe) error {
			for range 100 {
				p.XAdd(t.Context(), entryArgs(s, "x"))
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.client.XLen(t.Context(), s.streams[0]).Val(); n > journalMax+journalMax/10 {
		t.Errorf("the stream has %d entries, want about %d", n, journalMax)
	}
}

func TestAbsentRedis(t *testing.T) {
	s := open(t, "redis://"+realtool.FreeAddr(t))
	var ops []string
	s.Observe = func(_ context.Context, op string, _ time.Duration, err error) {
		ops = append(ops, op+" "+Reason(err))
	}
	_, err := s.Get(t.Context(), "k")
	if err == nil || errors.Is(err, store.ErrNotFound) || Reason(err) != "refused" {
		t.Errorf("Get(no server) = %v (%s), want refused", err, Reason(err))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "k"); Reason(err) != "cancelled" {
		t.Errorf("Get(ended) = %v (%s), want cancelled", err, Reason(err))
	}
	if got := strings.Join(ops, ", "); got != "get refused, get cancelled" {
		t.Errorf("Observe received %q", got)
	}
}
