package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// TestDoctorEviction: a real Redis that may drop what it was given is not ok, with
// room left too; one that tells nobody its policy is not found fault with.
func TestDoctorEviction(t *testing.T) {
	h := newTestEnv(t, nil)
	dingtalk := httptest.NewServer(h.platform)
	t.Cleanup(dingtalk.Close)
	for _, tt := range []struct {
		policy string
		args   []string
		ok     bool
	}{
		{"noeviction", nil, true}, {"allkeys-lru", nil, false},
		{"allkeys-random", []string{"--maxmemory", "64mb"}, false},
		{"volatile-lru", nil, false}, {"volatile-ttl", nil, false}, {"volatile-lfu", nil, false},
		{"allkeys-lru", []string{"--rename-command", "INFO", ""}, true},
	} {
		redis := realtool.StartRedis(t, append([]string{"--maxmemory-policy", tt.policy}, tt.args...)...)
		env := []string{"DINGGATE_PUBLIC_URL=" + h.base, "DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
			"DINGGATE_DINGTALK_CLIENT_SECRET=" + canary, "DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
			"DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_API_URL=" + dingtalk.URL,
			"DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL, "DINGGATE_COOKIE_SECRETS=" + newSecret(),
			"DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=" + redis.URL(), "DINGGATE_LANG=en"}
		var out, trouble strings.Builder
		run([]string{"doctor", "--json"}, env, &out, &trouble)
		var told struct {
			Checks []struct{ Check, Severity, Text, Cure string }
		}
		if err := json.Unmarshal([]byte(out.String()), &told); err != nil {
			t.Fatalf("doctor --json: %v\n%s%s", err, &out, &trouble)
		}
		found := false
		for _, row := range told.Checks {
			if row.Check != "redis" {
				continue
			}
			found = true
			if ok := row.Severity == "ok"; ok != tt.ok ||
				!ok && (!strings.Contains(row.Text, tt.policy) || !strings.Contains(row.Cure, "noeviction")) {
				t.Errorf("with %s %q doctor says %+v, want ok = %v", tt.policy, tt.args, row, tt.ok)
			}
		}
		if !found {
			t.Errorf("doctor does not look at Redis:\n%s", &out)
		}
		redis.Kill()
	}
}
