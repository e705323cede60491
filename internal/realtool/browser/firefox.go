package browser

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"dinggate/internal/realtool"

	"github.com/coder/websocket"
)

// quiet prevents Firefox's own requests to its vendor.
const quiet = `user_pref("app.normandy.enabled",false);
user_pref("app.update.disabledForTesting",true);
user_pref("browser.safebrowsing.malware.enabled",false);
user_pref("browser.safebrowsing.phishing.enabled",false);
user_pref("browser.shell.checkDefaultBrowser",false);
user_pref("browser.startup.page",0);
user_pref("datareporting.policy.dataSubmissionEnabled",false);
user_pref("network.captive-portal-service.enabled",false);
user_pref("network.connectivity-service.enabled",false);
user_pref("services.settings.server","data:,#remote-settings-dummy/v1");
user_pref("toolkit.telemetry.enabled",false);
`

// Firefox is Firefox without a window, driven by WebDriver BiDi
// (https://www.w3.org/TR/webdriver-bidi/) over its WebSocket.
func Firefox(t testing.TB, proxy string) *Browser {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "user.js"), []byte(quiet), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(realtool.Path(t, "firefox-esr"), "--headless", "--no-remote", "--remote-debugging-port=0",
		"--profile", dir)
	cmd.Env = home(t, "MOZ_HEADLESS=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	program(t, cmd)
	lines, listening := bufio.NewScanner(stderr), ""
	for listening == "" && lines.Scan() {
		if m := regexp.MustCompile(`listening on (ws://\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			listening = m[1]
		}
	}
	if listening == "" {
		t.Fatal("Firefox names no address for WebDriver BiDi")
	}
	go io.Copy(io.Discard, stderr)

	conn, _, err := websocket.Dial(t.Context(), listening+"/session", nil)
	if err != nil {
		t.Fatalf("Firefox: %v", err)
	}
	conn.SetReadLimit(16 << 20)
	t.Cleanup(func() { conn.CloseNow() })
	d := &bidi{conn: conn}
	if err := d.call(t.Context(), "session.new",
		map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
			"acceptInsecureCerts": true, "proxy": proxyCapability(proxy),
		}}}, nil); err != nil {
		t.Fatalf("Firefox: %v", err)
	}
	var tree struct{ Contexts []struct{ Context string } }
	if err := d.call(t.Context(), "browsingContext.getTree", map[string]any{}, &tree); err != nil ||
		len(tree.Contexts) == 0 {
		t.Fatalf("Firefox has no tab: %v", err)
	}
	tab := tree.Contexts[0].Context
	return New(t, "Firefox", func(ctx context.Context, address string) error {
		// Not "complete": a frame that its server forbids would make the page's navigation fail.
		return d.call(ctx, "browsingContext.navigate",
			map[string]any{"context": tab, "url": address, "wait": "interactive"}, nil)
	}, func(ctx context.Context, script string) (string, error) {
		var got struct {
			Result           struct{ Value string }
			ExceptionDetails struct{ Text string }
		}
		err := d.call(ctx, "script.evaluate",
			map[string]any{"expression": script, "target": map[string]any{"context": tab}, "awaitPromise": true,
				"userActivation": true}, &got)
		if err == nil && got.ExceptionDetails.Text != "" {
			err = fmt.Errorf("%s", got.ExceptionDetails.Text)
		}
		return got.Result.Value, err
	})
}

// bidi is one connection of the protocol, for one call at a time.
type bidi struct {
	conn *websocket.Conn
	id   int
}

func (d *bidi) call(ctx context.Context, method string, params, into any) error {
	d.id++
	text, err := json.Marshal(map[string]any{"id": d.id, "method": method, "params": params})
	if err != nil {
		return err
	}
	if err := d.conn.Write(ctx, websocket.MessageText, text); err != nil {
		return err
	}
	for {
		_, text, err := d.conn.Read(ctx)
		if err != nil {
			return err
		}
		var answer struct {
			ID             *int
			Type           string
			Error, Message string
			Result         json.RawMessage
		}
		if err := json.Unmarshal(text, &answer); err != nil {
			return err
		}
		if answer.ID == nil || *answer.ID != d.id {
			continue // an event
		}
		if answer.Type == "error" {
			return fmt.Errorf("%s: %s: %s", method, answer.Error, answer.Message)
		}
		if into == nil {
			return nil
		}
		return json.Unmarshal(answer.Result, into)
	}
}
