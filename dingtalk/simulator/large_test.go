package simulator_test

import (
	"fmt"
	"testing"
	"time"

	"dinggate/dingtalk/simulator"
)

// TestLarge checks that the lists of a large organisation can be read completely and
// contain every member.
func TestLarge(t *testing.T) {
	w := serve(t, simulator.Large(10_000, 500))
	w.ChangeApp("", func(a *simulator.App) { a.PerSecond = 0 })
	token := w.appToken()
	seen := map[string]bool{}
	departments := []any{1}
	for n := 0; n < len(departments); n++ {
		below := w.oldWith(token, "/topapi/v2/department/listsubid",
			fmt.Sprintf(`{"dept_id":%v}`, departments[n]))["result"].(map[string]any)
		departments = append(departments, below["dept_id_list"].([]any)...)
		for cursor := 0; ; cursor += 100 {
			page := w.oldWith(token, "/topapi/v2/user/list",
				fmt.Sprintf(`{"dept_id":%v,"cursor":%d,"size":100}`, departments[n], cursor))["result"].(map[string]any)
			for _, one := range page["list"].([]any) {
				record := one.(map[string]any)
				seen[record["userid"].(string)] = true
				if record["role_list"] != nil {
					t.Fatal("user/list contains roles")
				}
			}
			if page["has_more"] != true {
				break
			}
		}
	}
	if want := 10_000 + 7; len(seen) != want || len(departments) != 500+7 {
		t.Errorf("%d people in %d departments, want %d in 507", len(seen), len(departments), want)
	}
}

// TestPerSecond checks that no second, wherever it begins, has more answered calls than
// the limit.
func TestPerSecond(t *testing.T) {
	p := simulator.Large(1, 1)
	now := time.Unix(1_700_000_000, 900_000_000)
	p.Now = func() time.Time { return now }
	w := serve(t, p)
	token := w.appToken()
	call := func() any { return w.oldWith(token, "/topapi/v2/user/get", `{"userid":"m00001"}`)["errcode"] }
	for range 20 {
		if got := call(); fmt.Sprint(got) != "0" {
			t.Fatalf("within the limit: %v", got)
		}
	}
	now = now.Add(200 * time.Millisecond) // another second of the clock, the same one for the limit
	if got := call(); fmt.Sprint(got) != "90018" {
		t.Errorf("21 calls within 200 ms: %v, want 90018", got)
	}
	now = now.Add(800 * time.Millisecond)
	if got := call(); fmt.Sprint(got) != "0" {
		t.Errorf("a second later: %v, want 0", got)
	}
}

func TestLeaveRecords(t *testing.T) {
	w := serve(t, simulator.Large(60, 1))
	for i := range 60 {
		if err := w.Leave(fmt.Sprintf("m%05d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	token := w.appToken()
	get := func(path string) map[string]any {
		_, text := w.send("GET", path, "", "", "x-acs-dingtalk-access-token", token)
		return decode(t, text)
	}
	from := w.Time().Add(-time.Minute).UTC().Format(time.RFC3339)
	to := w.Time().Add(time.Minute).UTC().Format(time.RFC3339)
	n := 0
	for next := "0"; next != ""; {
		page := get("/v1.0/contact/empLeaveRecords?startTime=" + from + "&endTime=" + to + "&nextToken=" + next +
			"&maxResults=50")
		n += len(page["records"].([]any))
		next, _ = page["nextToken"].(string)
	}
	if n != 60 {
		t.Errorf("%d leave records, want 60", n)
	}
	if page := get("/v1.0/contact/empLeaveRecords?startTime=" + from +
		"&nextToken=0&maxResults=51"); page["code"] != "invalidParameter" {
		t.Errorf("a page of 51 = %v, want invalidParameter", page)
	}
}
