package gatewayconf

import (
	_ "embed"
	"io/fs"
	"regexp"
	"strings"
	"text/template"

	"dinggate/internal/i18n"
)

// comments contains the Chinese translation of every comment of the templates: `@@`, the
// comment, `--`, the translation.
//
//go:embed comments.zh.txt
var comments string

var (
	// A comment on a line of its own: the text before it, its mark, its text.
	commentLine = regexp.MustCompile(`^((?:\s|\{\{[^}]*\}\})*)(#|--)(?: (.*))?$`)
	// A comment after other text on its line.
	commentEnd = regexp.MustCompile(`^(.*\S\s+)(#|--) (\S.*)$`)
	action     = regexp.MustCompile(`\{\{[^}]*\}\}`)
)

// translations are comments by their English text, without marks and margins.
func translations() map[string]string {
	all := map[string]string{}
	for entry := range strings.SplitSeq(strings.TrimSuffix(comments, "\n"), "\n@@\n") {
		english, chinese, _ := strings.Cut(strings.TrimPrefix(entry, "@@\n"), "\n--\n")
		all[english] = chinese
	}
	return all
}

// parse reads the templates of a pattern with their comments in a language.
func parse(name string, files fs.FS, words template.FuncMap, in i18n.Language, patterns ...string) *template.Template {
	all := template.New(name).Funcs(words)
	for _, pattern := range patterns {
		paths, err := fs.Glob(files, pattern)
		if err != nil {
			panic(err) // the patterns are ours
		}
		for _, path := range paths {
			text, err := fs.ReadFile(files, path)
			if err != nil {
				panic(err) // embedded
			}
			source := string(text)
			if in == i18n.Chinese {
				known := translations()
				source = eachComment(source, func(english string) string {
					if chinese, ok := known[english]; ok {
						return chinese
					}
					return english // a test looks for it
				})
			}
			template.Must(all.New(path[strings.LastIndexByte(path, '/')+1:]).Parse(source))
		}
	}
	return all
}

// eachComment replaces each comment by the result of translate. Comments on consecutive
// lines with the same mark and the same margin are one comment.
func eachComment(source string, translate func(english string) string) string {
	var out, block []string
	var before, mark, margin string
	flush := func() {
		if block == nil {
			return
		}
		for i, line := range strings.Split(translate(strings.Join(block, "\n")), "\n") {
			if i > 0 {
				before = margin
			}
			out = append(out, before+strings.TrimRight(mark+" "+line, " "))
		}
		block = nil
	}
	for line := range strings.SplitSeq(source, "\n") {
		m := commentLine.FindStringSubmatch(line)
		if m == nil {
			flush()
			if m := commentEnd.FindStringSubmatch(line); m != nil && !strings.HasPrefix(m[3], "{") {
				line = m[1] + m[2] + " " + translate(m[3])
			}
			out = append(out, line)
			continue
		}
		if block == nil || m[2] != mark || m[1] != margin {
			flush()
			before, mark, margin = m[1], m[2], action.ReplaceAllString(m[1], "")
		}
		block = append(block, m[3])
	}
	flush()
	return strings.Join(out, "\n")
}
