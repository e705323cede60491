package simulator

import "fmt"

// perSecond is DingTalk's limit of calls per second, per app and API.
const perSecond = 20

// Large is Demo's organisation with so many more people and departments, and
// DingTalk's limit of 20 calls per second. Their ids are m00001 and so on, in a tree
// of three levels; every tenth is in two departments, every twentieth has a role.
func Large(people, departments int) *Platform {
	p := Demo()
	p.Apps[0].PerSecond = perSecond
	departments = max(1, min(departments, peopleMax))
	for i := range departments {
		d := Department{ID: int64(100_000 + i), Name: fmt.Sprintf("第%d部门", i+1), Parent: 1}
		switch {
		case i >= 100: // below the departments of the second level
			d.Parent = int64(100_000 + 10 + i%90)
		case i >= 10:
			d.Parent = int64(100_000 + i%10)
		}
		p.Departments = append(p.Departments, d)
	}
	for i := range min(people, peopleMax-len(p.People)) {
		id := fmt.Sprintf("m%05d", i+1)
		who := Person{
			ID:      id,
			Account: Account{Nick: id},
			Record: Record{
				UserID:      id,
				Name:        fmt.Sprintf("员工%05d", i+1),
				JobNumber:   fmt.Sprintf("9%05d", i+1),
				OrgEmail:    id + "@yunfan.example",
				Departments: []int64{int64(100_000 + i%departments)},
			},
		}
		if i%10 == 9 {
			who.Departments = append(who.Departments, int64(100_000+(i/10)%departments))
			if who.Departments[0] == who.Departments[1] {
				who.Departments = who.Departments[:1]
			}
		}
		if i%20 == 19 {
			who.Roles = []int64{[]int64{100, 101, 200, 300}[i/20%4]}
		}
		p.People = append(p.People, who)
	}
	return p
}
