// Package scriptname recognises the file names of scripts. A server runs a script for every path
// that continues its name, the path info: PHP-FPM, CGI, ASP.NET and ISAPI run /report.php for
// /report.php/x too (threats P17).
package scriptname

import "strings"

// MaxEnding is the length of the longest extension that Ending recognises.
const MaxEnding = len("phtml")

// Ending reports whether a file name extension, without its dot and in any letter case, is that of
// a script.
func Ending(s string) bool {
	if len(s) < 2 || len(s) > MaxEnding {
		return false
	}
	switch strings.ToLower(s) {
	case "php", "php3", "php4", "php5", "php7", "php8", "pht", "phtml", "cgi", "fcgi", "fpl", "pl", "py", "rb", "sh",
		"tcl", "lua", "exe",
		"asp", "aspx", "ashx", "asmx", "axd", "svc", "cfm", "cfc", "jsp", "jspx", "dll":
		return true
	}
	return false
}

// Path reports whether the last segment of a path is a script's name. Any of its extensions
// counts: Apache's AddHandler also runs report.php.en.
func Path(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	for {
		_, rest, found := strings.Cut(name, ".")
		if !found {
			return false
		}
		if ending, _, _ := strings.Cut(rest, "."); Ending(ending) {
			return true
		}
		name = rest
	}
}
