// Package orgtree reads the departments and roles of the organisation, by name and id,
// for authors of rules.
//
//	dingtalk.Probe ─► Read ─► Tree ─┬─► dinggate departments: tree, search, JSON
//	                 JSON ─► Parse ─┴─► the closest match for a name in a rule (check, doctor)
package orgtree

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"

	"dinggate/dingtalk"
	"dinggate/internal/identity"
)

// Tree contains what the app can see. Parents precede their children.
type Tree struct {
	Departments []Department `json:"departments"`
	Roles       []Role       `json:"roles"`
}

// Department is a department with the names above it.
type Department struct {
	ID     int64  `json:"id"`
	Parent int64  `json:"parent,omitempty"`
	Name   string `json:"name"`
	Path   string `json:"path"` // 研发部/平台组; the root is only in its own path
}

// Role is a role.
type Role struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// Read reads the tree from DingTalk. Errors are the probe's.
func Read(ctx context.Context, probe *dingtalk.Probe) (*Tree, error) {
	departments, err := probe.Departments(ctx)
	if err != nil {
		return nil, err
	}
	roles, err := probe.Roles(ctx)
	if err != nil {
		return nil, err
	}
	return newTree(departments, roles...), nil
}

// Roles is a tree that contains only roles.
func Roles(all []identity.Role) *Tree { return newTree(nil, all...) }

// Parse parses the output of `dinggate departments --json`.
func Parse(data []byte) (*Tree, error) {
	var t Tree
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, err
	}
	if len(t.Departments) == 0 {
		return nil, errors.New("no departments")
	}
	return &t, nil
}

func (t *Tree) department(id int64) *Department {
	i := slices.IndexFunc(t.Departments, func(d Department) bool { return d.ID == id })
	if i < 0 {
		return nil
	}
	return &t.Departments[i]
}

// HasDepartment and HasRole report whether the tree contains what a rule names. A rule
// names a role by its name or its id.
func (t *Tree) HasDepartment(text string) bool {
	id, err := strconv.ParseInt(text, 10, 64)
	return err == nil && t.department(id) != nil
}

func (t *Tree) HasRole(text string) bool {
	return slices.ContainsFunc(t.Roles, func(r Role) bool { return r.Name == text || strconv.FormatInt(r.ID, 10) == text })
}

// NearestDepartment returns the department whose id or name differs least from text. It
// returns "" if there are no departments.
func (t *Tree) NearestDepartment(text string) string {
	n := nearest{text: text}
	for _, d := range t.Departments {
		n.offer(d.ID, d.Name, strconv.FormatInt(d.ID, 10)+" "+d.Path)
	}
	return n.best
}

// NearestRole is NearestDepartment for roles.
func (t *Tree) NearestRole(text string) string {
	n := nearest{text: text}
	for _, r := range t.Roles {
		n.offer(r.ID, r.Name, r.Name+" ("+strconv.FormatInt(r.ID, 10)+")")
	}
	return n.best
}

// nearest returns the entry that differs least from text in characters; among ids that
// differ equally, the nearest number.
type nearest struct {
	text, best string
	least      int
	apart      uint64
}

func (n *nearest) offer(id int64, name, shown string) {
	characters, apart := min(distance(n.text, strconv.FormatInt(id, 10)), distance(n.text, name)), uint64(1<<63)
	if written, err := strconv.ParseInt(n.text, 10, 64); err == nil {
		apart = uint64(max(written, id) - min(written, id))
	}
	if n.best == "" || characters < n.least || characters == n.least && apart < n.apart {
		n.best, n.least, n.apart = shown, characters, apart
	}
}

// Search lists the departments with all words in the path or the id, in their order.
func (t *Tree) Search(words []string) (found []Department) {
	for _, d := range t.Departments {
		text := strings.ToLower(d.Path) + " " + strconv.FormatInt(d.ID, 10)
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) }) {
			found = append(found, d)
		}
	}
	return found
}

// distance counts the characters to insert, delete or change.
func distance(a, b string) int {
	from, to := []rune(strings.ToLower(a)), []rune(strings.ToLower(b))
	row := make([]int, len(to)+1)
	for j := range row {
		row[j] = j
	}
	for i := range from {
		last := row[0]
		row[0] = i + 1
		for j := range to {
			change := last
			if from[i] != to[j] {
				change++
			}
			last = row[j+1]
			row[j+1] = min(change, last+1, row[j]+1)
		}
	}
	return row[len(to)]
}
