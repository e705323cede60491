package forwardauth

import (
	"io"
	"net"
	"testing"
	"time"
)

// speak sends raw bytes and reads until the server closes.
func speak(t *testing.T, addr, raw string) string {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %.30q the connection stays open: %v", raw, err)
	}
	return string(answer)
}
