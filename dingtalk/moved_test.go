package dingtalk_test

import (
	"fmt"
	"net"
	"net/http/httptest"
	"testing"

	"dinggate/dingtalk"
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

// TestSuperiors: a record of another person, or without its ids, names no approver (K10, K11).
func TestSuperiors(t *testing.T) {
	const record = `{"errcode":0,"result":{"userid":"%s","unionid":"%s","name":"李四","manager_userid":"zhangsan","dept_id_list":[]}}`
	for _, tt := range []struct{ userID, unionID, want string }{
		{"lisi", "u-lisi", ""},
		{"lisi", "", "later bad_answer"},
		{"", "u-lisi", "later bad_answer"},
		{"wangwu", "u-wangwu", "later bad_answer"},
	} {
		g := newEnv(t)
		g.Fault(simulator.Fault{On: pathUserGet, Do: simulator.Body(fmt.Sprintf(record, tt.userID, tt.unionID)), Times: 1})
		list, _, err := g.dir.Superiors(t.Context(), "lisi", dingtalk.Superiors{Manager: true})
		if verdict(err) != tt.want || err == nil && (len(list) != 1 || list[0].UnionID != g.unionID(t, "zhangsan")) {
			t.Errorf("the requester's record is %+v: %v, %v; want zhangsan, or %q", tt, list, err, tt.want)
		}
		g.Fault(simulator.Fault{On: pathUserGet, Do: simulator.Body(fmt.Sprintf(record, tt.userID, tt.unionID)), Times: 1})
		list, _, err = g.dir.Superiors(t.Context(), "", dingtalk.Superiors{Users: []string{"lisi"}})
		if verdict(err) != tt.want || err == nil && (len(list) != 1 || list[0].UnionID != tt.unionID) {
			t.Errorf("the approver's record is %+v: %v, %v; want %q", tt, list, err, tt.want)
		}
	}
}
