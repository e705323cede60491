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

// program is the dinggate under test. It is built with the race detector.
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
	os.Setenv("LC_ALL", "C") // the tests read English messages
	return m.Run()
}

// TestHostile runs every class against its env and then makes the checks that require a finished
// run. HOSTILE_NIGHT=1 adds the faults that take longer than a few seconds each.
func TestHostile(t *testing.T) {
	s := open(t)
	c := &count{}
	changing := openChanging(t)
	faulty := openFaulty(t)
	secure := openSecure(t)
	accounts := openLocal(t)
	shared := openShared(t)
	ssoEnv := openSSOClient(t)
	nameEnv := openNames(t)
	serviceEnv := openServiceNames(t)
	provider := openProvider(t)
	granting := openGrants(t)
	upgrades(s) // adds responses of the application that switch protocols
	classes := []class{
		{"R", 1700, s, redirects},
		{"H", 2200, s, headers},
		{"P", 12000, s, paths},
		{"F", 120, s, gateways},
		{"M", 210, s, framing},
		{"S", 285, s, signInState},
		{"C", 1265, s, cookies},
		{"T", 250, s, ssoService},
		{"D", 175, s, denial},
		{"L", 200, s, secrets},
		{"W", 760, s, pages},
		{"K", 270, changing, dingtalkBehaviour},
		{"TLS", 1500, secure, tlsTries},
		{"A", 1765, accounts, localAccountTries},
		{"B8", 300, shared, sharedDomain},
		{"API", 100, ssoEnv, ssoClient},
		{"N", 70, nameEnv, namesakes},
		{"O", 20, serviceEnv, sharedNames},
		{"E", 1900, provider, openID},
		{"V", 45, faulty, faults},
		{"G", 1800, granting, grants},
	}
	// One lane is for the env that most classes share, the other for all other envs. The classes
	// wait more than they compute.
	var lanes sync.WaitGroup
	for _, most := range []bool{true, false} {
		lanes.Go(func() {
			for _, one := range classes {
				if (one.env == s) == most {
					t.Run(one.name, func(t *testing.T) { one.run(t, c) })
				}
			}
		})
	}
	lanes.Wait()
	t.Run("end", func(t *testing.T) {
		for name, one := range map[string]*env{"shared by most": s, "K": changing, "V": faulty, "TLS": secure, "A": accounts,
			"B8": shared, "API": ssoEnv, "N": nameEnv, "O": serviceEnv, "E": provider, "G": granting} {
			lanes.Go(func() { t.Run(name, one.end) })
		}
		lanes.Wait()
	})
	if ran := len(c.lines); ran == len(classes) { // a single class covers only a few threats
		if list := uncovered(c.names); len(list) > 0 {
			t.Errorf("no try covers %v", list)
		}
	}
	c.print(slices.Concat(s.notes, secure.notes, accounts.notes))
}

// class is a list of tries and the env that they run against.
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
