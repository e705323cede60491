package hostile

import (
	"fmt"
	"slices"
	"strings"
)

// parameterPaths covers P17. Each path is /admin/, which only lisi may open, for a server that
// cuts parameters before decoding, after it, or between two decodings, or that combines this with
// other normalizations.
func parameterPaths() (list []string) {
	for _, parameter := range []string{";", ";x", ";x=1", ";%2F", ";%2fx", ";a%2Fb%2Fc", ";%252Fx", ";%25252fx",
		";x;y%2f", "%3b", "%3Bx", "%3b%2fx", "%253bx", "%253B%252Fx", ";%3fx", ";%23", ";%20", ";.x", ";x%2Fadmin",
		";public%2Fx"} {
		for _, form := range []string{"/P/admin/", "/P/admin/x", "/adminP", "/adminP/x", "/adminP/x/y", "/admin/P",
			"/admin/P/x", "//P/admin/x", "/P//admin/x", "/P/P/admin/x", "/P/adminP/xP", "/%61dminP/x", "/P/%61dmin/x",
			"/P/ADMIN/x"} {
			list = append(list, strings.ReplaceAll(form, "P", parameter))
		}
	}
	for _, path := range []string{"//x/admin/y", "///x/admin/", "//x//admin/y", "/%2fx/admin/y", "//x%2fy/admin/z",
		"//app.test/admin/", "//u@h/admin/", "//h:80/admin/", "/admin::$DATA", "/admin::$DATA/x",
		"/admin:$I30:$INDEX_ALLOCATION/x", "/ad%e2%80%8bmin/x", "/ad%EF%BB%BFmin/", "/ａdmin%3Bx/",
		"/index.php/admin/", "/index.php/admin/x", "/x/index.php/../admin", "/a.php/b.cgi/admin/x",
		"/index.php/;/admin/x", "/index.PHP/ADMIN/x", "/(S(x))/admin/x", "/(S(x))/ad/(S(y))min/",
		"/(A(x)F(y))/admin/", "/index.php/(S(x))/admin/", "/page%5c..%5cadmin/", "/x%2f..%2fadmin/", "/admin%2f;/x",
		"/admin;%2f..%2fpage", "/page/..;%2fx/admin/", "/page/;%2f../admin/"} {
		list = append(list, path)
	}
	return list
}

// scriptPaths covers P17. Each path is /report.php, which only lisi may open, for a server that
// runs scripts with path info.
var scriptPaths = []string{
	"/report.php", "/report.php/", "/report.php/x", "/report.php/x/y.css", "/report.php/public/x", "/report.php//x",
	"//report.php/x", "/report.php%2fx", "/report.php%2Fx/y", "/report.php%252fx", "/REPORT.PHP/x", "/Report.php/x",
	"/report%2ephp/x", "/%72eport.php/x", "/report.php::$DATA/x", "/report.php%3a%3a$DATA/x",
	"/report.php./x", "/report.php%20/x", "/report.php;x/y", "/report.php/;x", "/report.php%3bx/y", "/report.php%3Fx",
	"/report.php/%3Fx", "/;x/report.php/y", "/index.php/report.php/x", "/report.php/index.php/x",
	"/(S(x))/report.php/y", "/report.php/(S(x))/y", "/page/../report.php/x",
}

// delimiterPaths covers P18: an encoded ? or # that a proxy may decode and forward.
func delimiterPaths() (guarded, closed []string) {
	for _, mark := range []string{"%3F", "%3f", "%23", "%253F", "%2523", "%25253f"} {
		for _, form := range []string{"/adminQ", "/adminQx", "/admin/Q", "/admin/xQ/y", "/admin/Q/public/",
			"/%61dminQx", "/ADMINQ", "//adminQ", "/adminQ/../page", "/page/..Q/admin/", "/;x/adminQ"} {
			guarded = append(guarded, strings.ReplaceAll(form, "Q", mark))
		}
		for _, form := range []string{"/openQ", "/openQx", "/public/Q", "/public/aQb", "/publicQ/a", "/public/..Q",
			"/public/..Q/x", "/open/..Q", "/publicQ/../page", "/Q/public/a", "/pageQ/public/a"} {
			closed = append(closed, strings.ReplaceAll(form, "Q", mark))
		}
	}
	return guarded, closed
}

// casePaths covers P19. They are refused for every person because another rule than the one of the
// literal path may apply.
var casePaths = []string{
	"/ADMIN", "/ADMIN/", "/ADMIN/x", "/Admin/", "/aDMIN/x", "/adMin", "/adm%49n/x", "/%41dmin/", "/%41DMIN/x",
	"/;x/ADMIN/", "/ADMIN;x/y", "//ADMIN/", "/ADMIN.", "/ADMIN%3Fx", "/A%44min%2Fx", "/%2541DMIN/",
	"/ADM%E2%84%AA/../x", "/ＡＤＭＩＮ/x",
	"/OPEN", "/Open", "/PUBLIC/a", "/Public/", "/publiC", "/OFFICE/x", "/Office/", "/Gateway/../x", "/admiN/%2e",
	"/%50ublic/a",
}

// deepPaths covers P20: dot segments and letters that are encoded three times or more.
func deepPaths() (list []string) {
	for depth := 2; depth <= 12; depth++ {
		percent := "%" + strings.Repeat("25", depth-1)
		for _, form := range []string{"/page/P2eP2e/admin/", "/public/P2e./admin/", "/page/P2eP2eP2fadmin/",
			"/P61dmin/x", "/adP6Din/", "/adminP2fx", "/adminP3bx/", "/P3bP2fx/admin/", "/adminP3fx", "/adminP5cx",
			"/P2f/admin/", "/P41dmin/", "/x/P2e/../admin/", "/adminP00", "/P61P64min/100%25"} {
			list = append(list, strings.ReplaceAll(form, "P", percent))
		}
	}
	return list
}

// ambiguousPaths covers P17 to P20: the strictest interpretation decides for every person, at every
// endpoint.
func ambiguousPaths() (list []try) {
	add := func(id, person string, paths ...string) {
		for _, path := range paths {
			for _, method := range []string{"GET", "POST"} {
				for _, d := range endpoints {
					list = append(list,
						try{fmt.Sprintf("%s %s %s %q as %q", id, d.name, method, path, person), func(h *client) {
							var lines []string
							if person != "" {
								lines = []string{h.member(person)}
							}
							if a := d.do(h, method, path, lines); a.status == 200 || a.status >= 500 ||
								len(h.env.up.received(h.id)) > 0 {
								h.failf("%q got %v", person, a)
							}
						}})
				}
			}
		}
	}
	add("P17", "zhangsan", parameterPaths()...)
	add("P17", "zhangsan", scriptPaths...)
	guarded, closed := delimiterPaths()
	add("P18", "zhangsan", guarded...)
	add("P18", "", closed...)
	add("P19", "zhangsan", casePaths...)
	add("P19", "lisi", casePaths...)
	add("P20", "zhangsan", deepPaths()...)
	for _, path := range []string{"/ADMIN/", "/Open", "/PUBLIC/a"} {
		list = append(list, try{fmt.Sprintf("P19 the reason %q", path), func(h *client) {
			if a := endpoints[0].do(h, "GET", path, []string{"Accept: application/json"}); a.status != 400 ||
				!strings.Contains(a.body, `"ambiguous_path"`) {
				h.failf("got %v, want 400 ambiguous_path", a)
			}
			if a := endpoints[1].do(h, "GET", path, nil); a.status != 403 ||
				a.header.Get("X-Dinggate-Reason") != "ambiguous_path" {
				h.failf("nginx got %v, want 403 with the reason", a)
			}
		}})
	}
	// Paths whose interpretations match the same rule stay accessible.
	for path, person := range map[string]string{"/page%3Fx": "zhangsan", "/page;%2Fx/y": "zhangsan",
		"/Page/X": "zhangsan", "/page/%252561": "zhangsan", "//page/x": "zhangsan", "/index.php/page": "zhangsan",
		"/admin/X%3fy": "lisi", "/admin/x;%2Fy": "lisi", "/admin/A.php/b": "lisi", "/report.php/x": "lisi",
		"/report.php/x%2fy": "lisi", "/report.phpx/x": "zhangsan"} {
		list = append(list, try{fmt.Sprintf("P17 P18 P19 P20 stays open %q", path), func(h *client) {
			for _, d := range endpoints {
				if a := d.do(h, "GET", path, []string{h.member(person)}); a.status != 200 {
					h.failf("%s got %v, want 200", d.name, a)
				}
			}
		}})
	}
	return list
}

// closedQueries covers M18: queries of HTTP/2 requests that would end the request line of an
// HTTP/1.1 request or contain control characters there.
func closedQueries() (list []try) {
	for _, query := range []string{"a b", " ", "a= ", " HTTP/1.1", "a b HTTP/1.0", "x=%20 y", "a\x7f", "\x7f",
		"x=\u0080", "x=\u0085y", "x=\u009b31m", "x=\x80", "x=\x9f", "a=报\x85", "a\tb", "a\r\nX-Forwarded-User: boss",
		"a\nb", "a\x00", "a b HTTP/1.1\r\nX-Forwarded-User: boss\r\n\r\n"} {
		for _, path := range []string{"/public/m", "/page"} {
			list = append(list, try{fmt.Sprintf("M18 %s?%q", path, query), func(h *client) {
				more := []string{}
				if path == "/page" {
					more = append(more, "cookie: "+strings.TrimPrefix(h.member("zhangsan"), "Cookie: "))
				}
				h.checkHTTP2Refused(h.fields("GET", path+"?"+query, "app.test", more...), "")
			}})
		}
	}
	for _, query := range []string{"x=报表", "a=%20b", "a+b;c&&%zz", "x=\u00a0", "x=\xff"} {
		list = append(list, try{fmt.Sprintf("M18 stays open %q", query), func(h *client) {
			a, why := h.stream(request{authorized: true, fresh: true}, h.fields("GET", "/public/m?"+query, "app.test"), "")
			if seen := h.env.up.received(h.id); a.status != 200 || len(seen) != 1 || seen[0].target != "/public/m?"+query {
				h.failf("got %v %s", a, why)
			}
		}})
	}
	return slices.Clip(list)
}
