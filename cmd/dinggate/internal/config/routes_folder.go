package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"dinggate/internal/conf"

	"go.yaml.in/yaml/v3"
)

// RoutesFolder is the folder beside the file whose *.yaml files add routes, one file per
// team. The file's own routes come first, then those of the files, in the order of
// their names. The files can contain nothing else: an author of one of them controls
// paths that no other route has, and no secret or trusted proxy.
const RoutesFolder = "conf.d"

// maxRouteFiles bounds their number.
const maxRouteFiles = 500

// ListRouteFiles lists the folder, sorted: names that end in .yaml, or in .yml or .YAML, which
// is a mistake. Hidden files are ignored, since editors and Kubernetes create them.
func ListRouteFiles(folder string) (names []string, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, entry := range entries {
		name := entry.Name()
		ending := strings.ToLower(filepath.Ext(name))
		if strings.HasPrefix(name, ".") || ending != ".yaml" && ending != ".yml" {
			continue
		}
		names = append(names, name)
		info, err := os.Stat(filepath.Join(folder, name))
		if err == nil && !info.Mode().IsRegular() { // reading a pipe would block
			return nil, conf.Errorf("contains %s, which is not a regular file", name)
		}
	}
	if len(names) > maxRouteFiles {
		return nil, conf.Errorf("has more than %d files", maxRouteFiles)
	}
	return names, nil
}

// fromRoutesFolder reads the files of the folder. A missing folder has no routes; an
// unreadable one is a mistake: its routes would be missing, and a broader route would
// apply to their paths.
func (l *loader) fromRoutesFolder() {
	if l.folder == "" || l.List == nil {
		return
	}
	folder := filepath.Join(l.folder, RoutesFolder)
	names, err := l.List(folder)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			text := conf.TextOf(err)
			if _, ok := errors.AsType[*fs.PathError](err); ok {
				text = conf.Textf("cannot be read: %s", cause(err))
			}
			l.problems.Add(conf.Problem{Text: text, File: folder})
		}
		return
	}
	for _, name := range names {
		l.routesFrom(filepath.Join(folder, name))
	}
	for i := range l.cfg.Routes {
		if len(names) > 0 {
			at := l.places[fmt.Sprintf("routes[%d]", i)]
			l.cfg.Routes[i].File, l.cfg.Routes[i].Line = at.file, at.line
		}
	}
}

func (l *loader) routesFrom(name string) {
	fault := func(key string, line int, text conf.Text) {
		l.problems.Add(conf.Problem{Key: key, Text: text, File: name, Line: line})
	}
	if !strings.HasSuffix(name, ".yaml") {
		fault("", 0, conf.Textf("is not read, because its name does not end in .yaml; rename it"))
		return
	}
	data, _, err := l.Read(name)
	if err != nil {
		fault("", 0, conf.Textf("cannot be read: %s", cause(err)))
		return
	}
	root, at, text := parse(name, data)
	if !text.IsZero() {
		fault("", at.line, text)
		return
	}
	if root == nil { // an empty file has no routes
		return
	}
	defer func(name, folder string, data []byte) { l.name, l.folder, l.data = name, folder, data }(l.name, l.folder, l.data)
	l.name, l.folder, l.data, l.values = name, filepath.Dir(name), data, 0
	if root.Kind != yaml.MappingNode {
		l.noKeys(root, "", place{name, root.Line})
		return
	}
	l.eachPair(root, "", func(key, value *yaml.Node) {
		if key.Value != "routes" {
			fault(Shown(key.Value), key.Line, conf.Textf("cannot be set here; a file in %s may contain routes only", RoutesFolder))
			return
		}
		l.appendRoutes(value, key.Line, fault)
	})
}

// appendRoutes appends the routes of a file.
func (l *loader) appendRoutes(n *yaml.Node, line int, fault func(string, int, conf.Text)) {
	switch {
	case n.Kind == yaml.AliasNode:
		n = n.Alias
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null":
		fault("routes", line, conf.Textf("has no value; write one, or remove the line"))
		return
	}
	if n.Kind != yaml.SequenceNode {
		fault("routes", line, conf.Textf(wantsGot, conf.Textf("a list such as [a, b]"), kindOf(n)))
		return
	}
	if _, ok := l.places["routes"]; !ok {
		l.places["routes"] = place{l.name, line}
	}
	for _, item := range n.Content {
		i := len(l.cfg.Routes)
		l.cfg.Routes = append(l.cfg.Routes, DefaultRoute())
		l.walk(item, reflect.ValueOf(&l.cfg.Routes[i]).Elem(), fmt.Sprintf("routes[%d]", i), item.Line)
	}
}
