package web

import (
	"net/http"
	"strconv"
	"strings"
)

// IsPageLoad reports whether a browser is loading a page for a person, so that the
// answer may be a redirect; any other client gets a 401 that it can parse. It is
// decided from Sec-Fetch-Mode, otherwise from Accept; GET and HEAD only, never a
// WebSocket handshake (gateways strip Upgrade but forward Sec-WebSocket-Key).
func IsPageLoad(method string, h http.Header) bool {
	if method != http.MethodGet && method != http.MethodHead || len(h["Upgrade"]) > 0 ||
		len(h["Sec-Websocket-Key"]) > 0 {
		return false
	}
	if mode := h["Sec-Fetch-Mode"]; len(mode) > 0 {
		return len(mode) == 1 && mode[0] == "navigate" && !isPrefetch(h)
	}
	return len(h["X-Requested-With"]) == 0 && accepts(h, "text/html") && !isPrefetch(h)
}

// IsTopLevel reports whether a page load is a top-level navigation, and not one of a
// frame or an object in another page (threats W8). A browser that sends no fetch
// metadata counts as top-level.
func IsTopLevel(method string, h http.Header) bool {
	dest := h["Sec-Fetch-Dest"]
	return IsPageLoad(method, h) && (len(dest) == 0 || len(dest) == 1 && dest[0] == "document")
}

// Navigates reports whether a request is a navigation of a browser tab, not of a script, a
// frame or an image: a script of an application on our host can neither read such a page
// nor use its forms unnoticed. Without fetch metadata this is unknown, and true.
func Navigates(h http.Header) bool {
	dest, mode := h["Sec-Fetch-Dest"], h["Sec-Fetch-Mode"]
	return (len(dest) == 0 || len(dest) == 1 && dest[0] == "document") &&
		(len(mode) == 0 || len(mode) == 1 && mode[0] == "navigate")
}

// Embeds reports whether a request that is no page load is for a subresource, such as
// an image, a style sheet or a script, and not a fetch by a program or a script that
// reads the answer.
func Embeds(h http.Header) bool {
	if dest := h["Sec-Fetch-Dest"]; len(dest) > 0 {
		return len(dest) > 1 || dest[0] != "empty"
	}
	accept, _, _ := strings.Cut(h.Get("Accept"), ",") // of images: image/avif,…,*/*
	kind, _, _ := strings.Cut(strings.ToLower(strings.TrimSpace(accept)), "/")
	return kind == "image" || kind == "audio" || kind == "video" || kind == "font" ||
		strings.HasPrefix(strings.ToLower(accept), "text/css")
}

func isPrefetch(h http.Header) bool {
	return strings.Contains(h.Get("Sec-Purpose"), "prefetch") || h.Get("Purpose") == "prefetch"
}

// IsPrefetch reports whether the browser prefetches or prerenders; such a request must
// consume nothing that is valid once (threats S13).
func IsPrefetch(r *http.Request) bool { return isPrefetch(r.Header) }

// AsJSON makes every answer to r JSON, including errors that would otherwise be pages.
func AsJSON(r *http.Request) {
	r.Header["Accept"] = []string{"application/json"}
	delete(r.Header, "Sec-Fetch-Mode")
}

// WantsJSON reports whether the client requests JSON and not a page.
func WantsJSON(h http.Header) bool { return accepts(h, "application/json") && !accepts(h, "text/html") }

func accepts(h http.Header, kind string) bool {
	for _, line := range h["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			media, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(media), kind) {
				return true
			}
		}
	}
	return false
}

// SameOrigin reports whether a state-changing request comes from one of our own pages,
// by the rules of http.CrossOriginProtection: if the browser sends Sec-Fetch-Site,
// that alone decides. Without it (plain http, WebKit before 16.4), Origin must satisfy
// ours, or be absent (not a browser). A page under no-referrer posts its own form with
// `Origin: null`, so our pages with a form set strict-origin (threats W3a, W13).
func SameOrigin(r *http.Request, ours func(origin string) bool) bool {
	if site := r.Header["Sec-Fetch-Site"]; len(site) > 0 {
		return len(site) == 1 && (site[0] == "same-origin" || site[0] == "none")
	}
	origin := r.Header["Origin"]
	return len(origin) == 0 || len(origin) == 1 && ours(origin[0])
}

// IsDingTalk reports whether the User-Agent is that of the DingTalk client. It only
// selects a page and is no security decision, since any client can send that
// User-Agent. The robot that makes link previews is not counted.
func IsDingTalk(r *http.Request) bool {
	for _, ua := range r.Header["User-Agent"] {
		if containsFold(ua, "dingtalk") && !containsFold(ua, "dingtalk-linkservice") {
			return true
		}
	}
	return false
}

// Language returns `zh` or `en` for a person: by the `lang` query parameter, the `dinggate-lang`
// cookie, then Accept-Language by weight. The default is Chinese.
func Language(r *http.Request) string {
	if q := r.URL.Query().Get("lang"); q == "zh" || q == "en" {
		return q
	}
	for _, v := range CookieValues(r.Header, "dinggate-lang") {
		if v == "zh" || v == "en" {
			return v
		}
	}
	best, weight := "zh", 0.0
	for part := range strings.SplitSeq(strings.Join(r.Header["Accept-Language"], ","), ",") {
		tag, params, _ := strings.Cut(strings.TrimSpace(part), ";")
		q := 1.0
		if v, ok := strings.CutPrefix(strings.TrimSpace(params), "q="); ok {
			if f, err := strconv.ParseFloat(v, 64); err == nil {
				q = f
			}
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		if (primary == "zh" || primary == "en") && q > weight {
			best, weight = primary, q
		}
	}
	return best
}
