package servertest

import (
	"bufio"
	"context"
	"io"
	"regexp"
	"testing"
)

// StartDemo runs a demo in this process until the test ends, and returns its address.
func StartDemo(t *testing.T, run func(context.Context, string, io.Writer) error) string {
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- run(ctx, "127.0.0.1:0", w); w.Close() }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the demo ended with %v", err)
		}
	})
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if at := regexp.MustCompile(`http://[a-z0-9.]+:[0-9]+`).FindString(lines.Text()); at != "" {
			go io.Copy(io.Discard, r)
			return at
		}
	}
	t.Fatalf("the demo printed no address: %v", <-done)
	return ""
}
