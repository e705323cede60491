package revocation

import (
	"cmp"
	"slices"

	"dinggate/internal/identity"
)

// covered reports whether a revocation of the person already includes v, the
// revocation of one of their sessions.
func (r *Set) covered(v Revocation) bool {
	known, ok := r.people[v.Who]
	return ok && v.Who.Text != "" && known.Spare == 0 && !v.Since.After(known.Before)
}

// extend makes the revocation of the person include v, the revocation of one of their
// sessions, if a full set has one of the person.
func (r *Set) extend(v Revocation) bool {
	known, ok := r.people[v.Who]
	if !ok || v.Who.Text == "" || r.stored || len(r.ids)+len(r.people) < r.max {
		return false
	}
	r.people[v.Who] = known.with(v)
	return true
}

// with is the revocation of a person that also ends the session of v. A sign-out
// spares no password.
func (known Revocation) with(v Revocation) Revocation {
	if known.Reason == "" {
		known.Reason = "too_many_sign_outs"
	}
	if v.Since.After(known.Before) {
		known.Before = v.Since
	}
	if v.Until.After(known.Until) {
		known.Until = v.Until
	}
	known.Spare = 0
	return known
}

// compact frees a tenth of the set, if it can: first it removes entries that only the
// audit log needs; then it replaces all sign-outs of a person by one revocation of the
// person.
func (r *Set) compact() (room bool) {
	want := r.max - r.max/10 - 1
	of := map[identity.Key][]string{}
	for id, v := range r.ids {
		if v.Reason == "" {
			delete(r.ids, id)
		} else if v.Who.Text != "" {
			of[v.Who] = append(of[v.Who], id)
		}
	}
	people := make([]identity.Key, 0, len(of))
	for who, ids := range of {
		if _, known := r.people[who]; len(ids) > 1 || known {
			people = append(people, who)
		}
	}
	slices.SortFunc(people, func(a, b identity.Key) int { return cmp.Compare(len(of[b]), len(of[a])) })
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
