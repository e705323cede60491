package gatewayconf

import (
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"dinggate/internal/headername"
)

// templates has a folder for each gateway. deploy/ contains the same files, rendered for
// deploy/config.yaml; a test compares them.
//
//go:embed gen
var templates embed.FS

// Names lists the gateways that have templates.
func Names() []string {
	entries, err := fs.ReadDir(templates, "gen")
	if err != nil {
		panic(err) // embedded
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

type File struct{ Name, Text string }

// Render renders the templates of one gateway, in the order of their names.
func (s *GatewayConfig) Render(gateway string) []File {
	all := parse(gateway, templates, snippetWords, s.Language, "gen/"+gateway+"/*.tmpl")
	var files []File
	for _, t := range all.Templates() {
		var out strings.Builder
		if err := t.Execute(&out, s); err != nil {
			panic(err) // the templates are embedded, and a test runs each of them
		}
		files = append(files, File{strings.TrimSuffix(t.Name(), ".tmpl"), out.String()})
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	return files
}

// hostsOfLine is how many hosts of up to 253 characters fit into a line: HAProxy reads 2,048
// characters and 64 words of one, nginx 4,096 characters of a word.
const hostsOfLine = 6

// snippetWords are the functions of the templates.
var snippetWords = template.FuncMap{
	"join":  func(list []string, between string) string { return strings.Join(list, between) },
	"lower": strings.ToLower,

	// pad and width align columns.
	"pad": func(s string, width int) string { return s + strings.Repeat(" ", max(0, width-len(s))) },
	"width": func(list []string, least int) int {
		for _, s := range list {
			least = max(least, len(s))
		}
		return least
	},

	// nginx: our variable for a header, and nginx's own suffix for it.
	"variable":     nginxVariable,
	"variableName": nginxName,
	"variables": func(headers []string) []string {
		var all []string
		for _, h := range headers {
			all = append(all, nginxVariable(h))
		}
		return all
	},

	// isPlainPath accepts them, and a Lua pattern needs an escape for them
	"lua":     strings.NewReplacer(".", "%.", "-", "%-").Replace,
	"few":     func(hosts []string) bool { return len(hosts) <= hostsOfLine },
	"lines":   func(hosts []string) [][]string { return slices.Collect(slices.Chunk(hosts, hostsOfLine)) },
	"pattern": alternatives,
	"regex":   func(names []string) string { return strings.ReplaceAll(alternatives(names), `\.`, "[.]") },
	"except":  except,
	"wrap":    wrap,
	"lowers": func(list []string) (all []string) {
		for _, s := range list {
			all = append(all, strings.ToLower(s))
		}
		return all
	},
	"starts":      func(list []string, n int) []string { return list[:min(n, len(list))] },
	"quoted":      func(list []string) string { return `"` + strings.Join(list, `", "`) + `"` },
	"underscored": func(header string) string { return strings.ReplaceAll(header, "-", "_") },

	"plain":    yamlPlain,
	"patterns": envoyPatterns,
	"globs":    istioGlobs,
}

// usualVariables are short; the variable of any other header is h_ and the whole name,
// so that no two headers share a variable.
var usualVariables = map[string]string{
	"X-Auth-Request-User": "user", "X-Auth-Request-Email": "email", "X-Auth-Request-Preferred-Username": "name",
	"X-Auth-Request-Groups": "groups",
}

func nginxVariable(header string) string {
	if short := usualVariables[header]; short != "" {
		return "$dinggate_" + short
	}
	return "$dinggate_h_" + nginxName(header)
}

func nginxName(header string) string {
	return strings.ReplaceAll(strings.ToLower(header), "-", "_")
}

// alternatives is a regular expression that matches one of several names.
func alternatives(names []string) string {
	var all []string
	for _, name := range names {
		if below, any := strings.CutPrefix(name, "*."); any {
			all = append(all, `[^.]+\.`+regexp.QuoteMeta(below))
			continue
		}
		all = append(all, regexp.QuoteMeta(name))
	}
	if len(all) == 1 {
		return all[0]
	}
	return "(" + strings.Join(all, "|") + ")"
}

// except removes some headers, in any letter case.
func except(headers []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(headers), func(h string) bool {
		return slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(h, name) })
	})
}

// uncovered are the headers that start with none of the prefixes.
func uncovered(headers, prefixes []string) []string {
	return slices.DeleteFunc(slices.Clone(headers), func(h string) bool {
		return slices.ContainsFunc(prefixes, func(p string) bool {
			return len(h) >= len(p) && strings.EqualFold(h[:len(p)], p)
		})
	})
}

// wrap writes a list in lines of at most about 110 characters. It formats each element
// with format and puts between after all but the last.
func wrap(format, between string, list []string) (lines []string) {
	line := ""
	for i, element := range list {
		text := fmt.Sprintf(format, element)
		if i < len(list)-1 {
			text += between
		}
		if line != "" && len(line)+len(text) > 110 {
			lines, line = append(lines, strings.TrimRight(line, " ")), ""
		}
		line += text
	}
	return append(lines, strings.TrimRight(line, " "))
}

// yamlPlain writes hosts as YAML strings, separated by commas. Without quotes, a host
// such as 1.e5, 10 or on would not be a string.
func yamlPlain(value any) string {
	hosts, ok := value.([]string)
	if !ok {
		hosts = []string{value.(string)}
	}
	var all []string
	for _, h := range hosts {
		if !strings.Contains(h, ".") || strings.Contains(h, ":") || h[0] < 'a' || h[0] > 'z' {
			h = `"` + h + `"`
		}
		all = append(all, h)
	}
	return strings.Join(all, ", ")
}

const usualBeginning = "x-auth-request-"

func allUsual(headers []string) bool {
	return len(uncovered(headers, []string{"X-Auth-Request-"})) == 0
}

// envoyPatterns are string matchers of Envoy and Higress, separated by commas.
func envoyPatterns(headers []string) string {
	if allUsual(headers) {
		return "{prefix: " + usualBeginning + "}"
	}
	return "{exact: " + strings.ToLower(strings.Join(headers, "}, {exact: ")) + "}"
}

// istioGlobs are the same in Istio's syntax.
func istioGlobs(headers []string) string {
	if allUsual(headers) {
		return `"` + usualBeginning + `*"`
	}
	return `"` + strings.ToLower(strings.Join(headers, `", "`)) + `"`
}

// Prefixes are the prefixes of the families of Remove, for gateways that remove by prefix.
func (s *GatewayConfig) Prefixes() []string { return headername.Prefixes }

// Single are the headers of Remove without such a prefix.
func (s *GatewayConfig) Single() []string { return uncovered(s.Remove, headername.Prefixes) }

// EnvoyRemovals are header mutations of Envoy: names, families, and every name that
// applications may read as another one. A pseudo-header begins with a colon.
func (s *GatewayConfig) EnvoyRemovals() (all []string) {
	for _, name := range s.Single() {
		all = append(all, "{remove: "+strings.ToLower(name)+"}")
	}
	for _, prefix := range headername.Prefixes {
		all = append(all, "{remove_on_match: {key_matcher: {prefix: "+strings.ToLower(prefix)+"}}}")
	}
	return append(all, `{remove_on_match: {key_matcher: {safe_regex: {regex: "`+oddNames+`"}}}}`)
}

// oddNames is a regular expression for a whole name in lower case.
const oddNames = "[^:]*[^a-z0-9:-][^:]*"

// OddNames is oddNames.
func (s *GatewayConfig) OddNames() string { return oddNames }

// Odd are the characters of header names besides letters, digits and dashes.
// Applications may read such names as others: X_Forwarded_For.
func (s *GatewayConfig) Odd() []string { return strings.Split(headername.Odd, "") }

// Host is the host of public_url, without port.
func (s *GatewayConfig) Host() string { return s.Hosts[0] }

// Scheme is the scheme of public_url.
func (s *GatewayConfig) Scheme() string {
	if s.TLS {
		return "https"
	}
	return "http"
}

// Public is public_url.
func (s *GatewayConfig) Public() string { return s.Scheme() + "://" + s.Hosts[0] + s.oddPort() }

// oddPort is empty for the default port of the scheme.
func (s *GatewayConfig) oddPort() string {
	if s.TLS && s.Port == "443" || !s.TLS && s.Port == "80" {
		return ""
	}
	return ":" + s.Port
}

// Authorities are the hosts in the forms of a Host header.
func (s *GatewayConfig) Authorities() []string {
	all := slices.Clone(s.Hosts)
	if port := s.oddPort(); port != "" {
		for _, h := range s.Hosts {
			all = append(all, h+port)
		}
	}
	return all
}

// AppService is the application's name for Istio: fully qualified if the configuration
// has it so.
func (s *GatewayConfig) AppService() string {
	if strings.Contains(s.AppHost, ".") {
		return s.AppHost
	}
	return s.AppName + ".app.svc.cluster.local"
}

// Site is a host in Caddy's syntax; without a scheme it means https.
func (s *GatewayConfig) Site(host string) string {
	if s.TLS {
		return host + s.oddPort()
	}
	return "http://" + host + s.oddPort()
}

// CaddyAddress is Address in Caddy's syntax.
func (s *GatewayConfig) CaddyAddress() string {
	if socket, ok := strings.CutPrefix(s.Address, "unix:"); ok {
		return "unix/" + socket
	}
	return s.Address
}

// Wildcards are those of Hosts with a star.
func (s *GatewayConfig) Wildcards() (all []string) {
	for _, host := range s.Hosts {
		if strings.HasPrefix(host, "*.") {
			all = append(all, host)
		}
	}
	return all
}

// Names are the other ones.
func (s *GatewayConfig) Names() (all []string) { return except(s.Hosts, s.Wildcards()...) }

// Rule matches the hosts in Traefik's syntax. Its text is between double quotes, where a
// backslash would need another one.
func (s *GatewayConfig) Rule() string {
	var all []string
	for _, host := range s.Hosts {
		if below, any := strings.CutPrefix(host, "*."); any {
			all = append(all, "HostRegexp(`^[^.]+[.]"+strings.ReplaceAll(below, ".", "[.]")+"$`)")
			continue
		}
		all = append(all, "Host(`"+host+"`)")
	}
	if len(all) > 1 {
		return "(" + strings.Join(all, " || ") + ")"
	}
	return all[0]
}
