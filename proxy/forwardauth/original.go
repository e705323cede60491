package forwardauth

import (
	"net/http"
	"strings"

	"dinggate/internal/web"
)

// once reads a header that may be sent once. It may contain commas, as a path may. An absent
// header is no error, an empty one is: the gateway has lost its value.
func once(h http.Header, name string) (value string, sent bool, err error) {
	switch v := h[name]; {
	case len(v) == 0:
		return "", false, nil
	case len(v) == 1 && v[0] != "":
		return v[0], true, nil
	}
	return "", false, errOriginal
}

// forwardedMethod reads the first of the named headers; if several are sent, they must agree.
func forwardedMethod(h http.Header, names ...string) (string, error) {
	method := ""
	for _, name := range names {
		v, sent, err := once(h, name)
		if err != nil || sent && method != "" && v != method {
			return "", errOriginal
		}
		if sent {
			method = v
		}
	}
	return method, nil
}

// forwardedHost reads X-Forwarded-Host and X-Forwarded-Proto into q. The defaults are the
// request's own Host and the scheme of public_url. Traefik reports ws and wss for WebSocket
// handshakes.
func (h *Handler) forwardedHost(r *http.Request, q *OriginalRequest) (err error) {
	host, ok := web.Single(r.Header, "X-Forwarded-Host")
	if !ok {
		return errOriginal
	}
	if q.OwnName = host == ""; q.OwnName {
		host = r.Host
	}
	if q.Scheme, err = h.forwardedProto(r.Header); err != nil {
		return err
	}
	q.Host, err = web.CleanHost(host, q.Scheme)
	return err
}

func (h *Handler) forwardedProto(header http.Header) (string, error) {
	proto, ok := web.Single(header, "X-Forwarded-Proto")
	if !ok {
		return "", errOriginal
	}
	if proto == "" {
		return h.Origins.Scheme(), nil
	}
	return schemeOf(proto)
}

func schemeOf(proto string) (string, error) {
	switch strings.ToLower(proto) {
	case "https", "wss":
		return "https", nil
	case "http", "ws":
		return "http", nil
	}
	return "", errOriginal
}

// ownHost is the original request of an untrusted peer: its forwarded headers are ignored
// (CVE-2026-40575), so that only the address it called is known.
func (h *Handler) ownHost(r *http.Request) (OriginalRequest, error) {
	host, err := web.CleanHost(r.Host, h.Origins.Scheme())
	return OriginalRequest{Scheme: h.Origins.Scheme(), Host: host}, err
}
