package config

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"

	"dinggate/internal/conf"
)

// adminKey matches the start of the section and adminListen its key, in a file that is
// not valid YAML: also with a full-width colon, or without the space after it.
const (
	adminKey    = `^(\s*)["']?admin["']?\s*[:：](.*)$`
	adminListen = `(?:^|[\s{,，])["']?listen["']?\s*[:：]\s*["']?([^\s"',，{}#]+)`
)

// salvageAdmin extracts admin.listen from a file that is not valid YAML, so that
// healthcheck still reaches the process that started before the mistake was made.
// Otherwise it would use the default address, and a typo would make the platform restart
// the container. No process starts from such a configuration. The environment and flags,
// which are read after it, still replace the value.
func (l *loader) salvageAdmin() {
	address := scanAdminListen(l.data)
	var faults conf.Problems
	if checkListen(faults.At(""), address); faults.Mistakes() == 0 {
		setText(address, reflect.ValueOf(&l.cfg.Admin.Listen).Elem())
	}
}

// scanAdminListen finds the key in the line of admin, or in the more indented lines below
// it. It returns "" if there is none.
func scanAdminListen(data []byte) string {
	section, listen := regexp.MustCompile(adminKey), regexp.MustCompile(adminListen)
	outer, inside := -1, false
	for line := range strings.Lines(string(bytes.TrimPrefix(data, []byte("\ufeff")))) {
		line = strings.TrimRight(line, "\r\n")
		text := strings.TrimLeft(line, " \t\u3000\u00a0")
		if text == "" || text[0] == '#' {
			continue
		}
		indent := len(line) - len(text)
		if outer < 0 && text != "---" {
			outer = indent
		}
		if start := section.FindStringSubmatch(line); start != nil && indent == outer {
			inside, line = true, start[2]
		} else if indent <= outer {
			inside = false
		}
		if !inside {
			continue
		}
		if i := strings.Index(line, " #"); i >= 0 {
			line = line[:i]
		}
		if found := listen.FindStringSubmatch(line); found != nil {
			return found[1]
		}
	}
	return ""
}
