package dingtalk_test

import (
	"net"
	"net/http/httptest"
	"testing"

	"dinggate/dingtalk/simulator"
)

// TestMoves tests threats V34. A reused connection that is dead makes no sign-in fail: the
// code is sent once, over a new connection.
func TestMoves(t *testing.T) {
	sim := simulator.Demo()
	t.Cleanup(sim.Close)
	old := httptest.NewServer(sim)
	g := envAt(t, sim, old.URL)
	if _, _, err := g.signIn(t, "zhangsan"); err != nil {
		t.Fatal(err)
	}
	address := old.Listener.Addr().String()
	old.Close()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Skipf("SKIPPED: another process has taken %s meanwhile", address)
	}
	moved := httptest.NewUnstartedServer(sim)
	moved.Listener.Close()
	moved.Listener = l
	moved.Start()
	t.Cleanup(moved.Close)
	before := sim.Calls("/v1.0/oauth2/userAccessToken")
	u, _, err := g.signIn(t, "lisi")
	if err != nil || u.UserID != "lisi" {
		t.Errorf("after the move Exchange = %v, %v, want lisi", u.UserID, err)
	}
	if n := sim.Calls("/v1.0/oauth2/userAccessToken") - before; n != 1 {
		t.Errorf("the code was sent %d times", n)
	}
}
