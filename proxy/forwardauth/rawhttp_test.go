package forwardauth

import (
	"io"
	"net"
	"testing"
	"time"
)

// sendRaw sends raw bytes and reads until the server closes the connection.
func sendRaw(t *testing.T, addr, raw string) string {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("after %.30q the connection stays open: %v", raw, err)
	}
	return string(answer)
}
