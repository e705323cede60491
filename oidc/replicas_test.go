package oidc

import (
	"net/http"
	"sync"
	"testing"

	"dinggate/internal/conf"
	"dinggate/internal/realtool"
	"dinggate/store/grant"
	"dinggate/store/redisstore"
)

// TestReplicasOnRedis: two replicas on a real Redis with 50 concurrent redemptions of one code:
// one succeeds, and the reuse ends its grant (threats E2).
func TestReplicasOnRedis(t *testing.T) {
	server := realtool.StartRedis(t)
	first, second := newEnv(t), newEnv(t)
	for _, e := range []*env{first, second} {
		c := redisstore.Defaults()
		c.URL = conf.NewSecret(server.URL())
		s, err := redisstore.Open(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		grants, err := grant.New("oidc", s, [][]byte{make([]byte, 32)})
		if err != nil {
			t.Fatal(err)
		}
		e.Store, e.Pending, e.Grants, e.Issuer = s, s, grants, first.url
	}
	cookie := first.login(zhangsan)
	second.sessions[cookie] = first.sessions[cookie]
	code := first.code(cookie)
	var mu sync.Mutex
	var won []map[string]any
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range 50 {
		e := []*env{first, second}[i%2]
		all.Go(func() {
			a, v := e.tokens(redemption(code), "app", appSecret)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
			if a.status == http.StatusOK {
				won = append(won, v)
			}
		})
	}
	all.Wait()
	if len(won) != 1 || statuses[http.StatusBadRequest]+statuses[http.StatusServiceUnavailable] != 49 {
		t.Fatalf("answers by status: %v, want one 200", statuses)
	}
	for _, e := range []*env{first, second} {
		if a := e.call("GET", PathUserinfo, "", "Authorization",
			"Bearer "+won[0]["access_token"].(string)); a.status != http.StatusUnauthorized {
			t.Errorf("after the reuse, userinfo = %d", a.status)
		}
	}
}
