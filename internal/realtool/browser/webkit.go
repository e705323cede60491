package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"

	"dinggate/internal/realtool"
)

// WebKit is WebKitGTK's MiniBrowser, driven by WebDriver
// (https://www.w3.org/TR/webdriver2/) under an X server of its own. Safari and
// the web views of macOS and iOS are the same engine.
func WebKit(t testing.TB, proxy string) *Browser {
	t.Helper()
	driver := realtool.Path(t, "WebKitWebDriver")
	screen := display(t)
	found, _ := filepath.Glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
	if len(found) == 0 {
		t.Fatal("WebKitWebDriver has no MiniBrowser beside it")
	}
	addr := realtool.FreeAddr(t)
	cmd := exec.Command(driver, "-p", port(addr))
	cmd.Env = home(t, "DISPLAY="+screen, "WEBKIT_DISABLE_COMPOSITING_MODE=1", "LIBGL_ALWAYS_SOFTWARE=1")
	program(t, cmd)

	var session string
	call := func(ctx context.Context, method, path string, body any, into any) error {
		return webdriver(ctx, method, "http://"+addr+path, body, into)
	}
	eventually(t, "WebKitWebDriver", func() error { return call(t.Context(), "GET", "/status", nil, &struct{}{}) })
	var made struct{ SessionID string }
	if err := call(t.Context(), "POST", "/session",
		map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
			"acceptInsecureCerts": true,
			"webkitgtk:browserOptions": map[string]any{"binary": found[0],
				"args": []string{"--automation", "--proxy=socks5://" + proxy}},
		}}}, &made); err != nil {
		t.Fatalf("WebKit: %v", err)
	}
	session = "/session/" + made.SessionID
	t.Cleanup(func() { call(context.Background(), "DELETE", session, nil, &struct{}{}) })
	return New(t, "WebKit", func(ctx context.Context, address string) error {
		return call(ctx, "POST", session+"/url", map[string]any{"url": address}, nil)
	}, func(ctx context.Context, script string) (text string, err error) {
		err = call(ctx, "POST", session+"/execute/sync",
			map[string]any{"script": "return " + script, "args": []any{}}, &text)
		return text, err
	})
}

// webdriver makes one call of the protocol; the value is decoded into into.
func webdriver(ctx context.Context, method, address string, body, into any) error {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(text))
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if text, err = io.ReadAll(res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%d %s", res.StatusCode, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, &struct{ Value any }{into})
}
