package redisstore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"dinggate/account"
	"dinggate/account/accounttest"
	"dinggate/internal/realtool"

	"github.com/alicebob/miniredis/v2"
)

func TestBindingsOnMiniredis(t *testing.T) {
	accounttest.Run(t, func(t *testing.T) account.Bindings {
		return open(t, "redis://"+miniredis.RunT(t).Addr()).Bindings()
	})
}

// bindingsACL is what binding accounts needs beside acl; docs/accounts.md shows it.
const bindingsACL = " +hget +hset +hdel +hlen +hscan +eval +evalsha"

// TestBindingsOnRedis runs as a user that may do no more than the documentation says.
func TestBindingsOnRedis(t *testing.T) {
	file := filepath.Join(t.TempDir(), "acl")
	if err := os.WriteFile(file, []byte("user default off\n"+acl+bindingsACL+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := realtool.StartRedis(t, "--aclfile", file)
	accounttest.Run(t, func(t *testing.T) account.Bindings {
		return open(t, "redis://gate:canary-77@"+server.Addr, func(c *Config) { c.Prefix = "dinggate:" + strings.ReplaceAll(t.Name(), " ", "_") + ":" }).Bindings()
	})
}

// TestBindingsOfReplicas: two replicas bind the same account at once, one wins.
func TestBindingsOfReplicas(t *testing.T) {
	server := realtool.StartRedis(t)
	replicas := []*Bindings{open(t, server.URL()).Bindings(), open(t, server.URL()).Bindings()}
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			err := replicas[i%2].Add(t.Context(), account.Binding{UnionID: fmt.Sprint("u", i), Username: "one"})
			if _, taken := errors.AsType[*account.TakenError](err); err == nil {
				won.Add(1)
			} else if !taken {
				t.Errorf("Add = %v", err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		t.Errorf("%d replicas bound one account, want 1", won.Load())
	}
}

func TestBindingsOfAnIllRedis(t *testing.T) {
	b := open(t, "redis://127.0.0.1:1").Bindings()
	one := account.Binding{UnionID: "u", Username: "n"}
	_, find := b.Find(t.Context(), one)
	_, list := b.List(t.Context())
	_, remove := b.Remove(t.Context(), "n")
	for name, err := range map[string]error{"Find": find, "List": list, "Remove": remove, "Add": b.Add(t.Context(), one)} {
		if err == nil || errors.Is(err, account.ErrNone) || Reason(err) != "refused" {
			t.Errorf("%s without a server = %v (%s), want refused", name, err, Reason(err))
		}
	}
}
