package session

import (
	"cmp"
	"slices"
)

// covered reports whether an end of the person says already what m says of one of
// their sessions.
func (r *revocations) covered(m revocation) bool {
	known, ok := r.people[m.who]
	return ok && m.who.text != "" && known.spare == 0 && !m.since.After(known.before)
}

// extend has the end of the person say what m says of one of their sessions, in a
// full set that holds one.
func (r *revocations) extend(m revocation) bool {
	end, ok := r.people[m.who]
	if !ok || m.who.text == "" || r.stored || len(r.ids)+len(r.people) < r.max {
		return false
	}
	r.people[m.who] = end.with(m)
	return true
}

// with is the end of a person that ends the session of m too. A sign-out spares
// no password.
func (end revocation) with(m revocation) revocation {
	if end.reason == "" {
		end.reason = "too_many_sign_outs"
	}
	if m.since.After(end.before) {
		end.before = m.since
	}
	if m.until.After(end.until) {
		end.until = m.until
	}
	end.spare = 0
	return end
}

// fold makes room for a tenth of the set, if it can: what only the audit log
// wants goes first; then one mark takes the place of all sign-outs of a person.
func (r *revocations) fold() (room bool) {
	want := r.max - r.max/10 - 1
	of := map[name][]string{}
	for id, m := range r.ids {
		if m.reason == "" {
			delete(r.ids, id)
		} else if m.who.text != "" {
			of[m.who] = append(of[m.who], id)
		}
	}
	people := make([]name, 0, len(of))
	for who, ids := range of {
		if _, known := r.people[who]; len(ids) > 1 || known {
			people = append(people, who)
		}
	}
	slices.SortFunc(people, func(a, b name) int { return cmp.Compare(len(of[b]), len(of[a])) })
	for _, who := range people {
		if len(r.ids)+len(r.people) <= want {
			break
		}
		for _, id := range of[who] {
			r.people[who] = r.people[who].with(r.ids[id])
			delete(r.ids, id)
		}
	}
	return len(r.ids)+len(r.people) < r.max
}
