package config

import (
	"errors"
	"io/fs"
	"strings"

	"dinggate/internal/conf"
)

// ServiceEnvironment holds variables of the service where systemd runs it: the unit
// names it as EnvironmentFile.
const ServiceEnvironment = "/etc/dinggate/environment"

// serviceVariables gives what ServiceEnvironment has for us, to a command that reads
// the service's configuration without being the service: otherwise an operator's
// `dinggate check` judges another one than what runs. A variable of the command's own
// environment replaces it.
func (l *loader) serviceVariables(environ []string) []textValue {
	if l.Environment == "" || l.name != l.Standard {
		return nil
	}
	data, _, err := l.Read(l.Environment)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		l.problems.Add(conf.Problem{File: l.Environment, Warning: true,
			Text: conf.Textf("cannot be read: %s; the service takes variables from it, so run this command with sudo", cause(err))})
		return nil
	}
	l.cfg.serviceEnvironment = l.Environment
	own := map[string]bool{ConfigVariable: true, LanguageVariable: true} // the unit names the file by a flag
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		own[name] = true
	}
	var theirs []string
	for _, variable := range parseEnvironmentFile(string(data)) {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, envPrefix) && !own[name] {
			theirs = append(theirs, variable)
		}
	}
	_, values := l.parseEnviron(theirs)
	for i := range values {
		values[i].from += " (" + l.Environment + ")"
	}
	return values
}

// ServiceEnvironment is the file that variables of the service were read from; "" if none was.
func (c *Config) ServiceEnvironment() string { return c.serviceEnvironment }

// parseEnvironmentFile reads NAME=value lines as systemd.exec(5) describes them for
// EnvironmentFile: comments begin with # or ;, values may be quoted, a backslash at
// the end of a line continues it. Of two lines for one name the last counts. What is
// no such line is left out, as systemd does.
func parseEnvironmentFile(text string) (variables []string) {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	at := map[string]int{}
	for text != "" {
		text = strings.TrimLeft(text, " \t\n")
		line, rest, _ := strings.Cut(text, "\n")
		name, _, found := strings.Cut(line, "=")
		if line == "" || line[0] == '#' || line[0] == ';' || !found {
			text = rest
			continue
		}
		var value string
		value, text = environmentValue(text[len(name)+1:])
		name = strings.TrimSpace(name)
		i, twice := at[name]
		if !twice {
			i = len(variables)
			at[name] = i
			variables = append(variables, "")
		}
		variables[i] = name + "=" + value
	}
	return variables
}

// environmentValue reads a value to the end of its line, which quotes and backslashes
// may put off.
func environmentValue(text string) (value, rest string) {
	var b strings.Builder
	quote, kept := byte(0), 0 // kept: how much of it is not blanks at the end
	text = strings.TrimLeft(text, " \t")
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote == 0 && c == '\n':
			return b.String()[:kept], text[i+1:]
		case c == '\\' && quote != '\'' && i+1 < len(text):
			i++
			if text[i] == '\n' {
				continue
			}
			if quote == '"' && !strings.ContainsRune("\"\\`$", rune(text[i])) {
				b.WriteByte('\\')
			}
			b.WriteByte(text[i])
			kept = b.Len()
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote != 0 && c == quote:
			quote, kept = 0, b.Len()
		default:
			b.WriteByte(c)
			if quote != 0 || c != ' ' && c != '\t' {
				kept = b.Len()
			}
		}
	}
	return b.String()[:kept], ""
}
