package main

import (
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/servertest"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dinggate": main})
}

// TestScripts runs the real command as a shell would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script", UpdateScripts: *servertest.Update, RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error { // without the developer's environment
			env.Vars = append(env.Vars, "LANG=C", "LC_ALL=", "LC_MESSAGES=")
			return nil
		}})
}

// TestExitCodes checks that 0 is success, 1 a failure, and 2 a wrong command line.
func TestExitCodes(t *testing.T) {
	for _, tt := range []struct {
		args string
		want int
	}{
		{"", 2}, {"doctor", 1}, {"doctor --user", 2}, {"explain", 2}, {"explain --url /x", 1},
		{"explain --url /x --nope", 2}, {"gen nginx --nope", 2}, {"gen", 2}, {"doctor --nope", 2},
		{"healthcheck --nope", 2}, {"serve x", 2}, {"check --session.lifetime 8", 2}, {"check --listen 8", 1},
		{"bindings list --nope", 2}, {"--lang", 2}, {"--lang fr version", 2}, {"version --lang", 2},
		{"--lang zh version", 0}, {"version --lang=en", 0}, {"--lang zh", 2}, {"help", 0}, {"help check", 0},
		{"help nothing", 2}, {"--help", 0}, {"check --help", 0}, {"doctor --help", 0}, {"nothing --help", 2},
		{"check", 1}, {"check --nope", 2}, {"serve", 1}, {"keygen", 0}, {"keygen x", 2}, {"version", 0},
		{"version --x", 2}, {"demo --nope", 2}, {"simulate --listen", 2}, {"bindings", 2}, {"bindings list x", 2},
		{"bindings import", 2}, {"bindings remove", 2}, {"bindings empty", 2}, {"bindings list", 1},
	} {
		var out strings.Builder
		if got := run(strings.Fields(tt.args), nil, &out, &out); got != tt.want {
			t.Errorf("run(%q) = %d, want %d: %s", tt.args, got, tt.want, out.String())
		}
	}
}
