package dingtalk_test

import (
	"testing"

	"dinggate/dingtalk/simulator"
)

// TestMoved checks that a userid under another unionId identifies the same person only if
// DingTalk reports that the account with the known unionId was migrated.
func TestMoved(t *testing.T) {
	const migrationPath = "/v1.0/contact/orgAccount/getUnionIdByMigrationUnionIds"
	for _, tt := range []struct {
		name  string
		do    func(*env) error
		moved bool
		err   string // verdict
		calls int    // of the lookup of the previous account
	}{
		{"the same", func(*env) error { return nil }, false, "", 0},
		{"migrated", func(g *env) error { return g.Migrate("zhangsan", "") }, true, "", 1},
		{"migrated twice", func(g *env) error { g.Migrate("zhangsan", ""); return g.Migrate("zhangsan", "m2") }, false, "", 1},
		{"left", func(g *env) error { return g.Leave("zhangsan") }, false, "", 0},
		{"another person", func(g *env) error {
			return g.Reassign("zhangsan", simulator.Person{ID: "new", UnionID: "n", Record: simulator.Record{Name: "新人"}})
		}, false, "", 1},
		{"only the unionid", func(g *env) error {
			return g.Change("zhangsan", func(who *simulator.Person) { who.UnionID = "n" })
		}, false, "", 1},
		{"without the permission", func(g *env) error {
			g.ChangeApp("", func(a *simulator.App) { a.Missing = []string{"Contact.OrgAccountMigration.Read"} })
			return g.Migrate("zhangsan", "")
		}, false, "operator permission_missing", 1},
		{"DingTalk is away", func(g *env) error {
			g.Fault(simulator.Fault{On: migrationPath, Do: simulator.Status(503)})
			return g.Migrate("zhangsan", "")
		}, false, "later unavailable", 1},
		{"another answer", func(g *env) error {
			g.Fault(simulator.Fault{On: migrationPath, Do: simulator.Body(`{"migrationUnionIdList":{"x":"y"}}`)})
			return g.Migrate("zhangsan", "")
		}, false, "", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newEnv(t)
			before := g.unionID(t, "zhangsan")
			if err := tt.do(g); err != nil {
				t.Fatal(err)
			}
			moved, err := g.dir.Moved(t.Context(), "zhangsan", before)
			if moved != tt.moved || verdict(err) != tt.err {
				t.Errorf("Moved = %v, %v, want %v, %q", moved, err, tt.moved, tt.err)
			}
			if n := g.Calls(migrationPath); n != tt.calls {
				t.Errorf("%d calls, want %d", n, tt.calls)
			}
		})
	}
}
