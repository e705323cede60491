package page

import (
	"html/template"
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// maxQuery is the longest query that a language link repeats.
const maxQuery = 3072

// languageLink is the URL of the same page in another language, relative to it: `?lang=en&…`.
// The parameter comes first, since a raw `rd` extends to the end of the query. It is "" if the
// page cannot be loaded again: the page then contains the other language itself.
func languageLink(w http.ResponseWriter, r *http.Request, lang string) template.URL {
	if !repeatable(r) || relayed(w) || len(r.URL.RawQuery) > maxQuery {
		return ""
	}
	return otherLanguage("?"+r.URL.RawQuery, lang)
}

// otherLanguage adds the language at the beginning of address's query.
func otherLanguage(address, lang string) template.URL {
	path, query, _ := strings.Cut(address, "?")
	for _, used := range []string{"lang=zh", "lang=en"} {
		if rest, ok := strings.CutPrefix(query, used); ok && (rest == "" || rest[0] == '&') {
			query = strings.TrimPrefix(rest, "&")
		}
	}
	if query != "" {
		query = "&" + query
	}
	// begins with ? or is one of our paths: it leads to no other origin
	return template.URL(path + "?lang=" + lang + query)
}

// repeatable reports whether the page can be loaded again without harm: not a form, and not the
// one-time answer of a sign-in, whose code must not be in a page.
func repeatable(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		switch key, _, _ := strings.Cut(pair, "="); key {
		case "state", "code", "authCode":
			return false
		}
	}
	return true
}

// relayed reports whether a gateway shows this answer at another URL than that of the subrequest.
func relayed(w http.ResponseWriter) bool {
	x := web.From(w)
	return x.Path.Raw != x.Target
}

// keepLanguage stores a chosen language for a year: on our own endpoints only, and only if no
// other cookie is set (one Set-Cookie per answer, since gateways lose the second).
func (p *Pages) keepLanguage(w http.ResponseWriter, r *http.Request) {
	if p.prefix == "" || !strings.HasPrefix(r.URL.Path, p.prefix+"/") || !repeatable(r) || relayed(w) ||
		len(w.Header()["Set-Cookie"]) > 0 {
		return
	}
	lang := r.URL.Query().Get("lang")
	if lang != "zh" && lang != "en" {
		return
	}
	cookie := "dinggate-lang=" + lang + "; Path=/; Max-Age=31536000; HttpOnly; SameSite=Lax"
	if web.From(w).Scheme == "https" {
		cookie += "; Secure"
	}
	w.Header()["Set-Cookie"] = []string{cookie}
}
