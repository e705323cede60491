package simulator_test

import (
	"fmt"
	"sync"
	"testing"

	"dinggate/dingtalk/simulator"
)

func (w *env) contact(unionID string) string {
	w.Helper()
	m := w.old("/topapi/user/getbyunionid", `{"unionid":"`+unionID+`"}`)
	r, _ := m["result"].(map[string]any)
	return fmt.Sprint(m["errcode"], " ", r["userid"])
}

func TestPeopleComeAndGo(t *testing.T) {
	w := demo(t)
	do := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	was, _ := w.Who("zhangsan")
	do(w.Leave("zhangsan"))
	if got := w.contact(was.UnionID); got != "60121 <nil>" {
		t.Errorf("a leaver = %s, want 60121", got)
	}
	if _, err := w.Code(simulator.Browser, "", "zhangsan"); err != nil {
		t.Errorf("a leaver cannot sign in at DingTalk any more: %v", err)
	}
	do(w.Join(simulator.Person{ID: "zhangsan"}))
	if now, _ := w.Who("zhangsan"); now.Name != "张三" || now.UnionID != was.UnionID ||
		w.contact(was.UnionID) != "0 zhangsan" {
		t.Errorf("back again = %+v", now)
	}
	do(w.Reassign("zhangsan", simulator.Person{ID: "zhang2", Record: simulator.Record{Name: "张三丰"}}))
	now, _ := w.Who("zhang2")
	if got := w.contact(was.UnionID); got != "60121 <nil>" || w.contact(now.UnionID) != "0 zhangsan" ||
		now.UnionID == was.UnionID {
		t.Errorf("after the userid went to another person: old %s, new %s", got, w.contact(now.UnionID))
	}
	do(w.Reassign("zhangsan", simulator.Person{ID: "zhang3", Record: simulator.Record{Name: "张三又"}}))
	do(w.Move("lisi", 42))
	if got := fmt.Sprint(w.old("/topapi/v2/department/listparentbyuser",
		`{"userid":"lisi"}`)["result"]); got != "map[parent_list:[map[parent_dept_id_list:[42 1]]]]" {
		t.Errorf("moved = %s", got)
	}
	do(w.Rename("lisi", "李思"))
	do(w.SetRoles("lisi", 200))
	do(w.Disable("lisi"))
	r := w.old("/topapi/v2/user/get", `{"userid":"lisi"}`)["result"].(map[string]any)
	if got := fmt.Sprint(r["name"], " ", r["role_list"], " ",
		r["disable_status"]); got != "李思 [map[group_name:岗位 id:200 name:财务]] true" {
		t.Errorf("changed record = %s", got)
	}
	do(w.Enable("lisi"))
	do(w.Activate("wujiu"))
	do(w.Change("lisi", func(who *simulator.Person) { who.Blocked = true }))
	if m := w.old("/topapi/v2/user/get", `{"userid":"lisi"}`); fmt.Sprint(m["errcode"]) != "60120" {
		t.Errorf("blocked = %v, want 60120", m["errcode"])
	}
	do(w.AddOutsider(simulator.Person{ID: "out", Account: simulator.Account{Nick: "x"}, Record: simulator.Record{UserID: "ignored"}}))
	do(w.AddExternal(simulator.Person{ID: "ext", Record: simulator.Record{UserID: "ext"}}))
	for _, err := range []error{w.Add(simulator.Person{ID: "lisi"}), w.Add(simulator.Person{ID: "-"}),
		w.Add(simulator.Person{ID: "a b"}), w.Add(simulator.Person{}),
		w.Join(simulator.Person{ID: "wangwu", Record: simulator.Record{Name: "x"}}),
		w.Join(simulator.Person{ID: "new", Record: simulator.Record{UserID: "wangwu"}}),
		w.Leave("ghost"), w.Reassign("ghost", simulator.Person{ID: "g"})} {
		if err == nil {
			t.Error("an impossible change succeeded")
		}
	}
}

func TestDepartmentsChange(t *testing.T) {
	w := demo(t)
	lineage := func() string {
		return fmt.Sprint(w.old("/topapi/v2/department/listparentbyuser", `{"userid":"zhangsan"}`)["result"])
	}
	if err := w.ChangeDepartment(42, func(d *simulator.Department) { d.Parent = 43 }); err != nil {
		t.Fatal(err)
	}
	if got, want := lineage(), "map[parent_list:[map[parent_dept_id_list:[4201 42 43 1]]]]"; got != want {
		t.Errorf("below another department = %s, want %s", got, want)
	}
	if err := w.ChangeDepartment(43, func(d *simulator.Department) { d.Parent = 42 }); err != nil {
		t.Fatal(err)
	}
	if got, want := lineage(), "map[parent_list:[map[parent_dept_id_list:[4201 42 43]]]]"; got != want {
		t.Errorf("in a ring = %s, want %s", got, want)
	}
	w.ChangeDepartment(43, func(d *simulator.Department) { d.Parent = 1 })
	if err := w.RemoveDepartment(4201); err != nil {
		t.Fatal(err)
	}
	if got, want := lineage(), "map[parent_list:[map[parent_dept_id_list:[42 43 1]]]]"; got != want {
		t.Errorf("after its removal = %s, want %s", got, want)
	}
	if err := w.AddDepartment(simulator.Department{ID: 4201, Parent: 42, Name: "新组"}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.AddDepartment(simulator.Department{ID: 42}),
		w.AddDepartment(simulator.Department{ID: 1}), w.AddDepartment(simulator.Department{ID: 99, Parent: 98}),
		w.RemoveDepartment(1), w.RemoveDepartment(99), w.ChangeDepartment(99, nil)} {
		if err == nil {
			t.Error("an impossible change succeeded")
		}
	}
}

// Concurrent use of all methods, for the race detector.
func TestConcurrentUse(t *testing.T) {
	w := demo(t)
	token := w.appToken()
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			id := fmt.Sprint("p", i)
			for range 5 {
				w.Join(simulator.Person{ID: id, Record: simulator.Record{UserID: id, Name: "新人", Departments: []int64{42}}})
				w.Move(id, 43)
				w.Fault(simulator.Fault{On: "/nowhere", Do: simulator.Hang()})
				w.send("GET", authorize("person", id), "", "")
				w.post("/topapi/v2/user/get?access_token="+token, `{"userid":"`+id+`"}`)
				w.ChangeApp("", func(a *simulator.App) { a.Scope = []int64{1} })
				w.control("GET", "people", "")
				w.Advance(1)
				w.Leave(id)
				w.ClearFaults()
			}
		})
	}
	all.Wait()
	if got := w.Calls("/topapi/v2/user/get"); got != 80 {
		t.Errorf("Calls = %d, want 80", got)
	}
}

func TestZeroPlatform(t *testing.T) {
	w := serve(t, &simulator.Platform{})
	resp, body := w.send("GET", authorize(), "", "")
	if resp.StatusCode != 400 {
		t.Errorf("sign-in page for an unknown person = %d %s", resp.StatusCode, body)
	}
	if got := w.Calls("/oauth2/auth"); got != 1 {
		t.Errorf("Calls = %d, want 1", got)
	}
	w.send("GET", "/favicon.ico", "", "")
	w.send("POST", "/v1.0/oauth2/dingx/token", "application/json", corpBody)
	if got, want := fmt.Sprint(w.AllCalls()),
		"map[/oauth2/auth:1 /v1.0/oauth2/{corpId}/token:1 unknown:1]"; got != want {
		t.Errorf("AllCalls = %s, want %s", got, want)
	}
	w.ResetCalls()
	if got := len(w.AllCalls()); got != 0 {
		t.Errorf("after ResetCalls %d counters", got)
	}
}
