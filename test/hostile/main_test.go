package hostile

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
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
	build := exec.Command("go", "build", "-race", "-o", program, "../../cmd/dinggate")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "%v: %v\n%s", build, err, out)
		return 1
	}
	return m.Run()
}

// TestHostile runs every class against one env, then checks what can only be
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
	client := openBehind(t)
	named := openPeople(t)
	served := openService(t)
	provider := openProvider(t)
	upgrades(s) // teaches the application to switch protocols
	classes := []class{
		{"R", 1700, s, redirects},
		{"H", 2200, s, headers},
		{"P", 12000, s, paths},
		{"F", 120, s, gateways},
		{"M", 210, s, framing},
		{"S", 285, s, state},
		{"C", 1265, s, cookies},
		{"T", 250, s, ssoService},
		{"D", 175, s, denial},
		{"L", 200, s, secrets},
		{"W", 760, s, pages},
		{"K", 270, wild, strange},
		{"TLS", 1500, secure, tlsTries},
		{"A", 1765, accounts, local},
		{"B8", 300, shared, siblings},
		{"API", 100, client, behind},
		{"N", 70, named, namesakes},
		{"O", 20, served, sharedNames},
		{"E", 1900, provider, openID},
		{"V", 45, ill, faults},
	}
	// one for the env that most classes share, one for all others: they wait more than they work
	var lanes sync.WaitGroup
	for _, mine := range []bool{true, false} {
		lanes.Go(func() {
			for _, one := range classes {
				if (one.env == s) == mine {
					t.Run(one.name, func(t *testing.T) { one.run(t, c) })
				}
			}
		})
	}
	lanes.Wait()
	t.Run("end", func(t *testing.T) {
		for name, one := range map[string]*env{"shared by most": s, "K": wild, "V": ill, "TLS": secure, "A": accounts,
			"B8": shared, "API": client, "N": named, "O": served, "E": provider} {
			lanes.Go(func() { t.Run(name, one.end) })
		}
		lanes.Wait()
	})
	if ran := len(c.lines); ran == len(classes) { // one class alone is about a few
		if list := uncovered(c.names); len(list) > 0 {
			t.Errorf("no try is about %v", list)
		}
	}
	c.print(slices.Concat(s.notes, secure.notes, accounts.notes))
}

// class is a list of tries, and the env that they run against.
type class struct {
	name    string
	minimum int
	env     *env
	tries   func(*env) []try
}

func (one class) run(t *testing.T, c *count) {
	switch one.name {
	case "F":
		if one.env.nginx = nginxOrSkip(t, one.env); one.env.nginx != nil {
			one.minimum += 1000
		}
	case "V":
		if one.env.redis = redisOrSkip(t); one.env.redis {
			one.minimum += 15
		}
	}
	one.env.run(t, c, one.name, one.minimum, one.tries(one.env))
}
