package oidc

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/store/boltstore"
	"dinggate/store/grant"
	"dinggate/store/redisstore"
)

// killedStore names, in the environment of a child process, the store that it uses until it is
// killed: a folder, or the address of a Redis.
const killedStore = "DINGGATE_TEST_KILLED_STORE"

func TestMain(m *testing.M) {
	if where := os.Getenv(killedStore); where != "" {
		fmt.Fprintln(os.Stderr, killedChild(where))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// grantsOn opens an issuer with a store that outlives a process.
func grantsOn(where string) (*grant.Issuer, io.Closer, error) {
	var s grant.Store
	var closer io.Closer
	if strings.HasPrefix(where, "redis:") {
		c := redisstore.Defaults()
		c.URL = conf.NewSecret(where)
		r, err := redisstore.Open(c)
		if err != nil {
			return nil, nil, err
		}
		s, closer = r, r
	} else {
		f, err := boltstore.Open(where)
		if err != nil {
			return nil, nil, err
		}
		table, err := f.Table("oidc", 1000)
		if err != nil {
			return nil, nil, err
		}
		s, closer = table, f
	}
	grants, err := grant.New("oidc", s, [][]byte{bytes.Repeat([]byte{7}, 32)})
	if err != nil {
		return nil, nil, err
	}
	grants.Tolerance = time.Hour // allows for a lost last answer on a slow machine
	return grants, closer, nil
}

// killedChild is the process that is killed: it issues tokens one after another, and prints each
// only when it is in the store.
func killedChild(where string) error {
	grants, _, err := grantsOn(where)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for family := 0; ; family++ {
		code, _, err := grants.Issue(ctx, given{Client: "app"}, time.Minute)
		if err != nil {
			return err
		}
		g, _, err := grants.ByCode(ctx, code)
		if err != nil {
			return err
		}
		if err := grants.Redeem(ctx, g, given{Client: "app"}, time.Now().Add(time.Hour)); err != nil {
			return err
		}
		token := grants.Refresh(g)
		fmt.Printf("token %d %s\n", family, token)
		for range 20 {
			g, generation, err := grants.ByRefresh(ctx, token)
			if err != nil {
				return err
			}
			if token, err = grants.Rotate(ctx, g, generation); err != nil {
				return err
			}
			fmt.Printf("token %d %s\n", family, token)
		}
	}
}

// TestKilled: a process that is killed at any moment loses no refresh token that it has issued, in
// the embedded file and in a real Redis.
func TestKilled(t *testing.T) {
	t.Run("bbolt", func(t *testing.T) {
		dir := t.TempDir()
		for range 6 {
			killed(t, dir)
		}
	})
	t.Run("Redis", func(t *testing.T) {
		server := realtool.StartRedis(t)
		for range 6 {
			killed(t, server.URL())
		}
	})
}

func killed(t *testing.T, where string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killedStore+"="+where)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	last := map[string]string{} // family → the last token that was issued
	given, stop := 0, 1+rand.IntN(60)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var family, token string
		if n, _ := fmt.Sscanf(lines.Text(), "token %s %s", &family, &token); n != 2 {
			continue
		}
		last[family] = token
		if given++; given == stop {
			child.Process.Kill() // tokens in the pipe were issued, and are still read
		}
	}
	child.Wait()
	if given < stop {
		t.Fatalf("the child ended by itself after %d tokens", given)
	}
	grants, closer, err := grantsOn(where)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	for family, token := range last {
		g, generation, err := grants.ByRefresh(t.Context(), token)
		if err == nil {
			_, err = grants.Rotate(t.Context(), g, generation)
		}
		if err != nil {
			t.Errorf("killed after %d tokens: the last one of family %s: %v", given, family, err)
		}
	}
	forged := "x" + last["0"]
	if _, _, err := grants.ByRefresh(t.Context(), forged); !errors.Is(err, grant.ErrForeign) &&
		!errors.Is(err, grant.ErrNone) {
		t.Errorf("a token that was not issued: %v", err)
	}
}
