package config

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"dinggate/internal/conf"
)

// ServiceEnvironment contains variables of the systemd service: the unit names it as
// EnvironmentFile.
const ServiceEnvironment = "/etc/dinggate/environment"

// serviceVariables returns our variables in ServiceEnvironment, for a command that reads
// the service's configuration outside the service: otherwise an operator's `dinggate
// check` checks a configuration other than the running one. The command's own
// environment takes precedence.
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
			Text: conf.Textf("cannot be read: %s; the service reads variables from it, so run this command with sudo", cause(err))})
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
		name, _, _ := strings.Cut(variable, "=")
		switch {
		case strings.HasPrefix(name, envPrefix) && !own[name]:
			theirs = append(theirs, variable)
		case slices.Contains(networkVariables, strings.ToUpper(name)) && !own[name] && !own[strings.ToUpper(name)] &&
			!own[strings.ToLower(name)]:
			l.cfg.serviceNetwork = append(l.cfg.serviceNetwork, variable)
		}
	}
	_, values := l.parseEnviron(theirs)
	for i := range values {
		values[i].from += " (" + l.Environment + ")"
	}
	return values
}

// networkVariables are read by Go's own packages: proxies in either letter case.
var networkVariables = []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// ConnectAsService has this process connect as the service does, through its HTTP proxy
// and with its CA certificates. Call it before the first connection: both are read once.
func (c *Config) ConnectAsService() error {
	for _, variable := range c.serviceNetwork {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return err
		}
	}
	return nil
}

// ServiceEnvironment returns the file from which variables of the service were read, "" if none.
func (c *Config) ServiceEnvironment() string { return c.serviceEnvironment }

// parseEnvironmentFile parses NAME=value lines as systemd.exec(5) describes them for
// EnvironmentFile: comments begin with # or ;, values may be quoted, and a backslash at
// the end of a line continues it. The last line for a name wins. Like systemd, it
// ignores other lines.
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

// environmentValue reads a value to the end of its line; quotes and backslashes can
// extend it over several lines.
func environmentValue(text string) (value, rest string) {
	var b strings.Builder
	quote, kept := byte(0), 0 // kept: length without trailing blanks
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
