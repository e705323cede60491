package config

import "go.yaml.in/yaml/v3"

// maxValues bounds the values of one file: no file of maxFile has more without aliases, by which
// the author of a file in RoutesFolder could use up all memory at a reload.
const maxValues = maxFile / 2

// tooMany counts the values of a list or a section, and reports whether there are too many.
func (l *loader) tooMany(n *yaml.Node, path string) bool {
	before := l.values
	l.values += len(n.Content)
	if before <= maxValues && l.values > maxValues {
		l.unread = true // what is missing now is no further mistake
		l.mistake(place{l.name, n.Line}, path, "is repeated too often by aliases (*); write fewer of them")
	}
	return l.values > maxValues
}
