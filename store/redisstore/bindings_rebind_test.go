package redisstore

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"dinggate/account"
	"dinggate/account/accounttest"
	"dinggate/internal/conf"
	"dinggate/internal/keyring"
	"dinggate/internal/realtool"
)

func TestBindingsOnCluster(t *testing.T) {
	url, _ := startCluster(t, 3)
	accounttest.Run(t, func(t *testing.T) account.Bindings {
		return open(t, url, func(c *Config) {
			c.Prefix = "dinggate:" + strings.ReplaceAll(t.Name(), " ", "_") + ":"
		}).Bindings(newKeyring(t, 1))
	})
}

func nth(i int) string { return fmt.Sprint("u", i) }

func rebindSoon(c *Config) { c.Timeout = time.Second }

// wantOneBinding fails unless the account is bound to the person of the last Rebind that returned,
// or of the one that was under way, and nothing else is bound.
func wantOneBinding(t *testing.T, server *realtool.Redis, b *Bindings, last int) {
	t.Helper()
	all, err := b.List(t.Context())
	if err != nil || len(all) != 1 || all[0] != (account.Binding{UnionID: nth(last), Username: "a"}) &&
		all[0] != (account.Binding{UnionID: nth(last + 1), Username: "a"}) {
		t.Fatalf("killed after %d: List() = %v, %v, want the account with that person or the next", last, all, err)
	}
	for _, by := range []account.Binding{{UnionID: all[0].UnionID}, {Username: "a"}} {
		if got, err := b.Find(t.Context(), by); err != nil || got != all[0] {
			t.Errorf("killed after %d: Find(%v) = %v, %v, want %v", last, by, got, err, all[0])
		}
	}
	for _, key := range b.keys()[:2] {
		if n := server.Do("HLEN", key); n != "1\n" {
			t.Errorf("killed after %d: %s has %q records", last, key, n)
		}
	}
	if _, err := b.Remove(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
}

// TestRebind_ServerKilled kills Redis while an account is bound again and again.
func TestRebind_ServerKilled(t *testing.T) {
	server := realtool.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	for round := range 5 {
		b := open(t, server.URL(), rebindSoon).Bindings(newKeyring(t, 1))
		if err := b.Add(t.Context(), account.Binding{UnionID: nth(0), Username: "a"}); err != nil {
			t.Fatal(err)
		}
		var last atomic.Int64
		done := make(chan struct{})
		go func() {
			defer close(done)
			for i := 0; b.Rebind(context.Background(), account.Binding{UnionID: nth(i), Username: "a"}, nth(i+1)) == nil; i++ {
				last.Store(int64(i + 1))
			}
		}()
		server.Await("bound it often enough", func() bool { return last.Load() >= int64(20+13*round) })
		server.Kill()
		<-done
		server.Start()
		wantOneBinding(t, server, open(t, server.URL()).Bindings(newKeyring(t, 1)), int(last.Load()))
	}
}

// rebindChild binds an account again and again, and prints how often.
func rebindChild(url string) {
	c := Defaults()
	c.Timeout, c.URL = 10*time.Second, conf.NewSecret(url)
	s, err := Open(c)
	var k *keyring.Keyring
	if err == nil {
		k, err = keyring.New([]conf.Secret{conf.NewSecret(os.Getenv("REDISSTORE_REBIND_SECRET"))})
	}
	for i := 0; err == nil; i++ {
		fmt.Println(i)
		err = s.Bindings(k).Rebind(context.Background(), account.Binding{UnionID: nth(i), Username: "a"}, nth(i+1))
	}
	fmt.Println("error", err)
}

// TestRebind_ClientKilled kills the process that binds an account again and again.
func TestRebind_ClientKilled(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const secret = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=" // newKeyring(t, 1)
	server := realtool.StartRedis(t)
	for round := range 5 {
		b := open(t, server.URL()).Bindings(newKeyring(t, 1))
		if err := b.Add(t.Context(), account.Binding{UnionID: nth(0), Username: "a"}); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), "REDISSTORE_REBIND_CHILD="+server.URL(), "REDISSTORE_REBIND_SECRET="+secret)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		last, wanted := 0, 20+13*round
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if _, err := fmt.Sscan(lines.Text(), &last); err != nil {
				t.Fatalf("the child says %q", lines.Text())
			}
			if last == wanted {
				cmd.Process.Kill()
			}
		}
		cmd.Wait()
		wantOneBinding(t, server, b, last)
	}
}
