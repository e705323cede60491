package doctor_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/doctor"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// TestDoctorEviction checks that a real Redis with an eviction policy is reported, even if
// it has free memory. A Redis that does not reveal its policy is not reported.
func TestDoctorEviction(t *testing.T) {
	h := servertest.New(t, nil)
	dingtalk := httptest.NewServer(h.Platform)
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
		env := []string{"DINGGATE_PUBLIC_URL=" + h.URL, "DINGGATE_DINGTALK_CLIENT_ID=" + simulator.DemoClientID,
			"DINGGATE_DINGTALK_CLIENT_SECRET=" + servertest.Canary, "DINGGATE_DINGTALK_CORP_ID=" + simulator.DemoCorpID,
			"DINGGATE_DINGTALK_LOGIN_URL=" + dingtalk.URL, "DINGGATE_DINGTALK_API_URL=" + dingtalk.URL,
			"DINGGATE_DINGTALK_OAPI_URL=" + dingtalk.URL, "DINGGATE_COOKIE_SECRETS=" + config.NewSecret(),
			"DINGGATE_SESSION_STORE=redis", "DINGGATE_REDIS_URL=" + redis.URL(), "DINGGATE_LANG=en"}
		var out, stderr strings.Builder
		servertest.RunCommand(doctor.Command, []string{"doctor", "--json"}, env, &out, &stderr)
		var report struct {
			Checks []struct{ Check, Severity, Text, Cure string }
		}
		if err := json.Unmarshal([]byte(out.String()), &report); err != nil {
			t.Fatalf("doctor --json: %v\n%s%s", err, &out, &stderr)
		}
		found := false
		for _, row := range report.Checks {
			if row.Check != "redis" {
				continue
			}
			found = true
			slow := row.Severity == "warning" && strings.HasPrefix(row.Text, "writes within") // this machine is busy
			if ok := row.Severity == "ok" || slow; ok != tt.ok ||
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
