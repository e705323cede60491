package simulator

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// add adds a person as described, without an event.
func (o *organisation) add(who Person) error {
	n, err := who.described()
	if err != nil {
		return err
	}
	if len(o.people) >= peopleMax {
		return fmt.Errorf("simulator: adding %q: %d people are enough", n.ID, peopleMax)
	}
	if other := o.sameAs(n); other != nil {
		return fmt.Errorf("simulator: adding %q: %q has the same ID, userid or unionid", n.ID, other.ID)
	}
	o.people = append(o.people, n)
	return nil
}

// addAll is add for the people of an empty organisation: it indexes their ids,
// since tens of thousands may come.
func (o *organisation) addAll(people []Person) error {
	taken := make(map[string]bool, 3*len(people))
	for _, who := range people {
		n, err := who.described()
		if err != nil {
			return err
		}
		for _, id := range []string{"id " + n.ID, "union " + n.UnionID, "user " + n.UserID} {
			if taken[id] && id != "user " {
				return fmt.Errorf("simulator: adding %q: another person has the same ID, userid or unionid", n.ID)
			}
			taken[id] = true
		}
		o.people = append(o.people, n)
	}
	if len(o.people) > peopleMax {
		return fmt.Errorf("simulator: adding %d people: %d are enough", len(o.people), peopleMax)
	}
	return nil
}

// sameAs returns a person who shares an id with n, or nil.
func (o *organisation) sameAs(n *Person) *Person {
	for _, other := range o.people {
		if other.ID == n.ID || other.UnionID == n.UnionID || n.UserID != "" && other.UserID == n.UserID {
			return other
		}
	}
	return nil
}

// Add adds a person as described: a member, an external contact, a person of
// another organisation. It emits no event. ID, userid and unionid must be new.
func (p *Platform) Add(who Person) error {
	defer p.lock()()
	return p.org.add(who)
}

// AddOutsider adds a person of other organisations, regardless of UserID and External.
func (p *Platform) AddOutsider(who Person) error {
	who.ID, who.UserID, who.External = cmp.Or(who.ID, who.UserID), "", false
	return p.Add(who)
}

// AddExternal adds an external contact (企业外部联系人), who needs a UserID.
func (p *Platform) AddExternal(who Person) error {
	who.External = true
	return p.Add(who)
}

// Join makes a member of a new person, or of one who is known by ID (back
// after a leave, hired from outside), and emits user_add_org.
func (p *Platform) Join(who Person) error {
	unlock := p.lock()
	who.External = false
	who.ID = cmp.Or(who.ID, who.UserID)
	who.UserID = cmp.Or(who.UserID, who.ID)
	old := p.org.person(who.ID)
	if old != nil && old.member() {
		unlock()
		return fmt.Errorf("simulator: joining %q: is a member already", who.ID)
	}
	if old != nil {
		who = old.rejoin(who)
		p.org.people = slices.DeleteFunc(p.org.people, func(x *Person) bool { return x == old })
	}
	err := p.org.add(who)
	if err != nil && old != nil {
		p.org.people = append(p.org.people, old)
	}
	unlock()
	if err == nil {
		p.Emit("user_add_org", orgEventData(p.Time(), who.UserID))
	}
	return err
}

// rejoin is the record of a known person who joins (again): the new one, or the
// old one if the new one has no name. The account stays.
func (old *Person) rejoin(who Person) Person {
	if who.Name == "" {
		back := *old.clone()
		back.UserID, back.External = who.UserID, false
		return back
	}
	who.UnionID, who.Nick, who.Avatar = old.UnionID, cmp.Or(who.Nick, old.Nick), cmp.Or(who.Avatar, old.Avatar)
	who.Mobile, who.OwnEmail, who.LoginEmail = cmp.Or(who.Mobile, old.Mobile), cmp.Or(who.OwnEmail, old.OwnEmail),
		cmp.Or(who.LoginEmail, old.LoginEmail)
	if who.Corps == nil {
		who.Corps = old.Corps
	}
	return who
}

// Leave removes the organisation's record and emits user_leave_org. The account
// stays and can still sign in at DingTalk.
func (p *Platform) Leave(id string) error {
	userID := ""
	err := p.Change(id, func(who *Person) {
		if who.member() {
			p.org.leaves(leaver{userID: who.UserID, name: who.Name, mobile: who.Mobile, at: p.now()})
		}
		userID, who.UserID, who.External = who.UserID, "", false
	})
	if err == nil && userID != "" {
		p.Emit("user_leave_org", orgEventData(p.Time(), userID))
	}
	return err
}

// Disable disables an enterprise account. It emits no event: whether DingTalk
// does is not known, so clients must not depend on one.
func (p *Platform) Disable(id string) error {
	return p.Change(id, func(who *Person) { who.Disabled = true })
}

// DisableTold is Disable with the event of a changed record, as DingTalk may send it.
func DisableTold(p *Platform, id string) error {
	return p.modify(id, func(who *Person) { who.Disabled = true })
}

// Withhold makes later sign-ins of a person lack the consent that the app reads the
// account.
func (p *Platform) Withhold(id string) error {
	return p.Change(id, func(who *Person) {
		if p.org.withholds == nil {
			p.org.withholds = map[string]bool{}
		}
		p.org.withholds[who.ID] = true
	})
}

// Enable ends Disable.
func (p *Platform) Enable(id string) error {
	return p.Change(id, func(who *Person) { who.Disabled, who.Blocked = false, false })
}

// Activate ends Inactive and emits user_active_org.
func (p *Platform) Activate(id string) error {
	userID := ""
	err := p.Change(id, func(who *Person) { userID, who.Inactive = who.UserID, false })
	if err == nil {
		p.Emit("user_active_org", map[string]any{"userId": []string{userID}})
	}
	return err
}

// Move puts a person into exactly these departments and emits user_modify_org.
func (p *Platform) Move(id string, departments ...int64) error {
	return p.modify(id, func(who *Person) { who.Departments = slices.Clone(departments) })
}

// Rename changes the name in the organisation's record and emits user_modify_org.
func (p *Platform) Rename(id, name string) error {
	return p.modify(id, func(who *Person) { who.Name = name })
}

// SetRoles gives a person exactly these roles and emits label_user_change.
func (p *Platform) SetRoles(id string, roles ...int64) error {
	userID := ""
	err := p.Change(id, func(who *Person) { userID, who.Roles = who.UserID, slices.Clone(roles) })
	if err == nil {
		p.Emit("label_user_change",
			map[string]any{"userIdList": []string{userID}, "action": "add", "labelIdList": roles})
	}
	return err
}

// Reassign removes the person with this userid and gives the userid to a new
// person with another unionid and ID. It emits the events of Leave and Join.
func (p *Platform) Reassign(userID string, newcomer Person) error {
	unlock := p.lock()
	holder := p.org.personByUserID(userID)
	unlock()
	if holder == nil {
		return fmt.Errorf("simulator: reassigning userid %q: nobody has it", userID)
	}
	if err := p.Leave(holder.ID); err != nil {
		return err
	}
	newcomer.UserID = userID
	return p.Join(newcomer)
}

// Change calls change to edit a person, without an event. The ID stays.
func (p *Platform) Change(id string, change func(*Person)) error {
	defer p.lock()()
	who := p.org.person(id)
	if who == nil {
		return fmt.Errorf("simulator: changing %q: nobody is called so", id)
	}
	name := who.ID
	change(who)
	who.ID = name
	return nil
}

func (p *Platform) modify(id string, change func(*Person)) error {
	var prev, now *Person
	err := p.Change(id, func(who *Person) { prev = who.clone(); change(who); now = who.clone() })
	if err != nil || now.UserID == "" {
		return err
	}
	facts := func(who *Person) map[string]any {
		return map[string]any{"name": who.Name, "email": who.Email, "jobNumber": who.JobNumber,
			"workPlace": who.WorkPlace, "telephone": who.Telephone, "managerUserid": who.Manager}
	}
	data := orgEventData(p.Time(), now.UserID)
	data["diffInfo"] = map[string]any{"prev": facts(prev), "curr": facts(now), "userid": now.UserID}
	p.Emit("user_modify_org", data)
	return nil
}

// orgEventData is the data of an event about one member.
func orgEventData(at time.Time, userID string) map[string]any {
	return map[string]any{"timeStamp": millis(at), "userId": []string{userID}}
}

// Who is a copy of a person, by ID or userid.
func (p *Platform) Who(id string) (Person, bool) {
	defer p.lock()()
	who := p.org.person(id)
	if who == nil {
		return Person{}, false
	}
	return *who.clone(), true
}

func (o *organisation) person(id string) *Person {
	if i := slices.IndexFunc(o.people, func(who *Person) bool { return who.ID == id }); i >= 0 {
		return o.people[i]
	}
	return o.personByUserID(id)
}

// personByUserID returns a person whom the organisation has a record of.
func (o *organisation) personByUserID(id string) *Person {
	i := slices.IndexFunc(o.people, func(who *Person) bool { return id != "" && who.UserID == id })
	if i < 0 {
		return nil
	}
	return o.people[i]
}

func (o *organisation) personByUnionID(id string) *Person {
	i := slices.IndexFunc(o.people, func(who *Person) bool { return id != "" && who.UnionID == id })
	if i < 0 {
		return nil
	}
	return o.people[i]
}
