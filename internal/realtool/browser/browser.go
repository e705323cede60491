// Package browser drives real browsers in tests.
//
//	test ─► Browser ─┬─ Firefox (WebDriver BiDi)   ─┐
//	                 ├─ WebKit (WebDriver)          ├─► Names (SOCKS5, TLS) ─► servers on loopback
//	                 └─ New: any other, by its own  ─┘
//
// Package realtool finds the programs. The tests of a page are in the package that makes it.
package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dinggate/internal/realtool"
)

// Browser is a real browser with an empty profile that ends with its test. It reaches the network
// only through a proxy (Names) and accepts any certificate. Methods fail the test if the browser
// does not answer.
type Browser struct {
	Name string

	t    testing.TB
	open func(ctx context.Context, address string) error
	eval func(ctx context.Context, script string) (string, error)
}

// browserPatience bounds one call, and the wait for one condition.
const browserPatience = 20 * time.Second

// New is for browsers with another driver: open loads a page, eval returns the value of an
// expression that is a string.
func New(t testing.TB, name string, open func(context.Context, string) error,
	eval func(context.Context, string) (string, error)) *Browser {
	return &Browser{Name: name, t: t, open: open, eval: eval}
}

// Open loads a page.
func (b *Browser) Open(address string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), browserPatience)
	defer cancel()
	if err := b.open(ctx, address); err != nil {
		b.t.Fatalf("%s: opening %s: %v", b.Name, address, err)
	}
}

// Until waits until an expression is true on the browser's current page.
func (b *Browser) Until(condition string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), browserPatience)
	defer cancel()
	var last error
	for {
		text, err := b.eval(ctx, "String(Boolean("+condition+"))") // fails during a navigation
		if text == "true" {
			return
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			page, _ := b.eval(b.t.Context(), `location.href+"\n"+document.body.innerText`)
			b.t.Fatalf("%s: waiting for %s: %v; the page is %s", b.Name, condition, last, page)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Text is the text of the first element that matches, when there is one.
func (b *Browser) Text(selector string) string {
	b.t.Helper()
	b.Until("document.querySelector(" + quote(selector) + ")")
	return b.value("document.querySelector(" + quote(selector) + ").textContent.trim()")
}

// Location is the address of the page.
func (b *Browser) Location() string {
	b.t.Helper()
	return b.value("location.href")
}

// Click clicks the first element that matches, when its page is loaded. The next page may not be
// loaded yet.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.Until("document.readyState==='complete'&&document.querySelector(" + quote(selector) + ")")
	b.value("(document.querySelector(" + quote(selector) + ").click(),'')")
}

// Type fills a field.
func (b *Browser) Type(selector, text string) {
	b.t.Helper()
	b.Until("document.readyState==='complete'&&document.querySelector(" + quote(selector) + ")")
	b.value("(document.querySelector(" + quote(selector) + ").value=" + quote(text) + ")")
}

func (b *Browser) value(script string) string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), browserPatience)
	defer cancel()
	text, err := b.eval(ctx, script)
	if err != nil && !strings.Contains(script, ".click()") { // a click may navigate before the call returns
		b.t.Fatalf("%s: %s: %v", b.Name, script, err)
	}
	return text
}

func quote(s string) string {
	text, _ := json.Marshal(s) // a string always has a JSON form
	return string(text)
}

// eventually repeats a call until it works.
func eventually(t testing.TB, what string, call func() error) {
	t.Helper()
	end := time.Now().Add(browserPatience)
	for {
		err := call()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func proxyCapability(proxy string) map[string]any {
	return map[string]any{"proxyType": "manual", "socksProxy": proxy, "socksVersion": 5}
}

// home is an environment with empty directories for all data of a browser.
func home(t testing.TB, more ...string) []string {
	dir := t.TempDir()
	env := append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_CACHE_HOME="+dir, "XDG_DATA_HOME="+dir,
		"XDG_RUNTIME_DIR="+dir, "DBUS_SESSION_BUS_ADDRESS=disabled:")
	return append(env, more...)
}

// display starts an X server without a screen and returns its DISPLAY.
func display(t testing.TB) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(realtool.Path(t, "Xvfb"), "-displayfd", "3", "-screen", "0", "1200x900x24", "-nolisten", "tcp")
	cmd.ExtraFiles = []*os.File{w}
	program(t, cmd)
	w.Close()
	r.SetReadDeadline(time.Now().Add(browserPatience))
	var n int
	if _, err := fmt.Fscan(r, &n); err != nil {
		t.Fatalf("Xvfb names no display: %v", err)
	}
	return fmt.Sprintf(":%d", n)
}

func port(addr string) string {
	_, p, _ := net.SplitHostPort(addr)
	return p
}
