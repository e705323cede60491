package orgtree

import (
	"errors"
	"slices"
	"strings"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/conf"
)

// Check compares the departments and roles in rules with a file that contains a Tree,
// without network. A missing one is a warning, because the file may be older than the
// organisation. settings has the place of each key.
func Check(file string, c *config.Config, settings []config.Setting) []conf.Problem {
	data, _, err := config.ReadFile(file)
	if err == nil {
		var tree *Tree
		if tree, err = Parse(data); err == nil {
			return tree.unknown(file, c, settings)
		}
		return []conf.Problem{{Key: "--departments", Usage: true,
			Text: conf.Textf("is not what dinggate departments --json prints: %s", err)}}
	}
	return []conf.Problem{{Key: "--departments", Usage: true, Text: conf.Textf("cannot be read: %s", errors.New(config.Cause(err)))}}
}

func (t *Tree) unknown(file string, c *config.Config, settings []config.Setting) (all []conf.Problem) {
	warn := func(key string, text conf.Text) {
		p := conf.Problem{Key: key, Text: text, Warning: true}
		p.File, p.Line = place(key, settings)
		all = append(all, p)
	}
	for _, d := range config.NamedBy(c, "departments") {
		if !t.HasDepartment(d.Text) {
			warn(d.Key, conf.Textf("names the department %s, which is not in %s; the nearest is %s", d.Text, file,
				t.NearestDepartment(d.Text)))
		}
	}
	for _, r := range config.NamedBy(c, "roles") {
		switch nearest := t.NearestRole(r.Text); {
		case t.HasRole(r.Text):
		case nearest == "": // the organisation has no roles at all
			warn(r.Key, conf.Textf("names the role %s, which is not in %s", r.Text, file))
		default:
			warn(r.Key, conf.Textf("names the role %s, which is not in %s; the nearest is %s", r.Text, file, nearest))
		}
	}
	return all
}

// place is where a key was given, otherwise the place of its section.
func place(key string, settings []config.Setting) (file string, line int) {
	for ; key != ""; key = key[:max(strings.LastIndexAny(key, ".["), 0)] {
		i := slices.IndexFunc(settings, func(s config.Setting) bool { return s.Key == key })
		if i >= 0 && settings[i].File != "" {
			return settings[i].File, settings[i].Line
		}
	}
	return "", 0
}
