package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program is the dinggate under test, built with the race detector.
var program string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "hostile")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "dinggate")
	build := exec.Command("go", "build", "-race", "-o", program, "../cmd/dinggate")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		return 1
	}
	return m.Run()
}

// TestHostile runs every class against one site, then asks what can only be
// asked at the end. HOSTILE_NIGHT=1 adds the faults that take longer than a
// few seconds each.
func TestHostile(t *testing.T) {
	s := open(t)
	c := &count{}
	wild := openWild(t)
	ill := openIll(t)
	secure := openSecure(t)
	accounts := openLocal(t)
	shared := openShared(t)
	upgrades(s) // teaches the application to switch protocols
	for _, class := range []struct {
		name  string
		floor int
		site  *site
		tries func(*site) []try
	}{
		{"R", 1700, s, redirects},
		{"H", 1600, s, headers},
		{"P", 720, s, paths},
		{"F", 120, s, gateways},
		{"M", 120, s, framing},
		{"S", 250, s, state},
		{"C", 1250, s, cookies},
		{"T", 250, s, ssoService},
		{"D", 150, s, denial},
		{"L", 200, s, secrets},
		{"W", 300, s, pages},
		{"K", 200, wild, strange},
		{"TLS", 1300, secure, tlsTries},
		{"A", 1400, accounts, local},
		{"B8", 300, shared, siblings},
		{"V", 45, ill, faults},
	} {
		t.Run(class.name, func(t *testing.T) {
			if class.name == "F" {
				s.nginx = nginxOrSkip(t, s)
			}
			if class.name == "V" {
				if ill.redis = redisOrSkip(t); ill.redis {
					class.floor += 15
				}
			}
			class.site.run(t, c, class.name, class.floor, class.tries(class.site))
		})
	}
	t.Run("end", func(t *testing.T) {
		s.end(t)
		wild.end(t)
		ill.end(t)
		secure.end(t)
		accounts.end(t)
		shared.end(t)
	})
	c.print()
}
