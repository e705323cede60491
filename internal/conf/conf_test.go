package conf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const canary = "canary-7f3a"

func TestSecretNeverPrints(t *testing.T) {
	type holder struct {
		Open   Secret
		hidden Secret // fmt calls no method on an unexported field
	}
	v := holder{NewSecret(canary), NewSecret(canary)}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", v, &v, v.Open)
	}
	fmt.Fprint(&out, []Secret{v.Open}, map[string]Secret{"a": v.Open}, v.hidden)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "a", v.Open, "b", v, "c", []Secret{v.Open})
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "a", v.Open, "b", v, "c", []Secret{v.Open})
	if err := json.NewEncoder(&out).Encode(v); err != nil {
		t.Fatal(err)
	}
	if err := yaml.NewEncoder(&out).Encode(map[string]any{"a": v.Open, "b": []Secret{v.Open}}); err != nil {
		t.Fatal(err)
	}
	if hex := fmt.Sprintf("%x", canary); strings.Contains(out.String(), canary) || strings.Contains(out.String(), hex) {
		t.Errorf("a secret was printed:\n%s", &out)
	}
	if v.Open.Reveal() != canary {
		t.Errorf("Reveal() = %q, want %q", v.Open.Reveal(), canary)
	}
}

func TestProblems(t *testing.T) {
	var p Problems
	p.At("cookie.secrets").If(true, "is empty; generate one with %q", "dinggate keygen")
	p.At("session.idle").If(false, "is never said")
	p.At("routes[%d].path", 2).Warn(true, "is shadowed")
	p.Add(Problem{Key: "listen", Text: Textf("is odd"), File: "c.yaml", Line: 3})
	var got []string
	for _, problem := range p.All() {
		got = append(got, problem.String())
	}
	want := []string{`cookie.secrets is empty; generate one with "dinggate keygen"`,
		"warning: routes[2].path is shadowed", "c.yaml:3: listen is odd"}
	if fmt.Sprint(got) != fmt.Sprint(want) || p.Mistakes() != 2 {
		t.Errorf("All() = %q with %d mistakes, want %q with 2", got, p.Mistakes(), want)
	}
}
