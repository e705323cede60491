package clients

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// patience bounds one client's script.
const patience = 2 * time.Minute

// step is a line of a script: an address for the browser, which is answered with
// where the browser came to, or a feature that it has seen work.
type step struct {
	Visit string `json:"visit"`
	Stop  string `json:"stop"`
	OK    string `json:"ok"`
}

// arrival answers a visit: an address that begins with Stop, or a page.
type arrival struct {
	At   string `json:"at"`
	Page string `json:"page"`
}

// script runs a program that signs in with a third-party library. It writes a step a
// line and reads an arrival a line; what it asserts fails it, and so the test.
func (e *env) script(client *result, name string, args ...string) {
	t := e.t
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(os.Environ(), "ISSUER="+e.issuer, "CLIENT_ID="+clientID, "CLIENT_SECRET="+clientSecret,
		"PUBLIC_ID="+publicID, "CALLBACK="+e.callback)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, stderr.String())
		}
	}()
	end := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer end.Stop()
	defer cmd.Process.Kill()
	e.follow(client, in, out)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v", client.name, err)
	}
}

func (e *env) follow(client *result, in io.Writer, out io.Reader) {
	e.t.Helper()
	b := e.browser("zhangsan")
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var s step
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			e.t.Logf("it wrote %s", lines.Text())
			continue
		}
		if s.OK != "" {
			client.ok(s.OK)
			continue
		}
		at, page := b.visit(s.Visit, s.Stop)
		answer, _ := json.Marshal(arrival{at.String(), page})
		if _, err := in.Write(append(answer, '\n')); err != nil {
			e.t.Fatalf("%s: %v", client.name, err)
		}
	}
}

// node runs one of the scripts of testdata, with an npm package that scripts/tools
// has installed.
func (e *env) node(client *result, script, npmPackage string) {
	e.t.Helper()
	program := realtool.Path(e.t, "node")
	dir := nodeFolder(e.t, npmPackage, script, "driver.mjs")
	e.script(client, program, filepath.Join(dir, script))
}

// nodeFolder makes a folder with files of testdata from which an npm package is
// found.
func nodeFolder(t *testing.T, npmPackage string, files ...string) string {
	t.Helper()
	modules := filepath.Dir(realtool.NPM(t, npmPackage))
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Join("testdata", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
