package demo_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/demo"
)

// TestDemoSaysWhatItDoes checks that the first line is printed at once, and that a port in
// use is reported: the default port is replaced with a message; another port is an error
// with a remedy.
func TestDemoSaysWhatItDoes(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	var output bytes.Buffer
	err = demo.Run(t.Context(), taken.Addr().String(), &output)
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) ||
		!strings.Contains(err.Error(), "--listen") || !strings.Contains(output.String(), "starting") ||
		strings.Contains(output.String(), "http://") {
		t.Errorf("on a port that is taken the demo ends with %v and says %q", err, output.String())
	}
	usual, err := net.Listen("tcp", demo.Address) // if it is in use already, that is sufficient
	if err == nil {
		defer usual.Close()
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- demo.Run(ctx, "", w); w.Close() }()
	if _, err := demo.Listen(demo.Address, io.Discard); err == nil || !strings.Contains(err.Error(), "--listen") {
		t.Errorf("the usual port, given and taken, ends with %v, want the hint", err)
	}
	var lines []string
	for scan := bufio.NewScanner(r); scan.Scan(); {
		if lines = append(lines, scan.Text()); strings.Contains(scan.Text(), "孙七") {
			cancel()
		}
	}
	text := strings.Join(lines, "\n")
	if err := <-done; err != nil || !strings.Contains(lines[0], "starting") || !strings.Contains(text, "/_simulator/inbox") ||
		!strings.Contains(text, "PORT 4180 IS IN USE") || !strings.Contains(text, "--listen") ||
		strings.Contains(text, "http://"+demo.Address) {
		t.Errorf("with its port taken the demo says, and ends with %v:\n%s", err, text)
	}
}
