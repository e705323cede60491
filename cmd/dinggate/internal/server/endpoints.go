package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/dingtalk/sso"
	"dinggate/internal/web"
	"dinggate/oidc"
	"dinggate/proxy/accessrequest"
	"dinggate/proxy/console"
	"dinggate/proxy/login"

	"github.com/gorilla/mux"
)

// family is our own endpoints below one root. The zero family has none.
type family struct {
	root       string                     // everything below it belongs to dinggate, registered or not
	paths      map[string]web.HandlerFunc // by path; one that ends with a slash includes everything below it
	publicHost bool                       // on public_url's host only; on other hosts the paths belong to routes
}

// newOwnEndpoints lists all our endpoints except those for gateways, which are in
// forwardauth.
func newOwnEndpoints(c settings, flow *login.Flow, authenticate login.Authenticate, applications login.Applications,
	service *sso.Server, provider *oidc.Provider, requests *accessrequest.Handler,
	administrators *console.Handler) *endpoints {
	families := []family{
		signInEndpoints(c.Prefix, flow, authenticate, applications),
		keyEndpoints(c),
		accessEndpoints(c.Prefix, requests),
		consoleEndpoints(administrators),
		ssoEndpoints(service),
	}
	families = append(families, oidcEndpoints(provider)...)
	for _, path := range c.LoginAPIPaths() {
		families = append(families, family{root: path, paths: map[string]web.HandlerFunc{path: flow.LoginAPI}})
	}
	return newEndpoints(c, families...)
}

func signInEndpoints(prefix string, flow *login.Flow, authenticate login.Authenticate,
	applications login.Applications) family {
	leave, accept := flow.HandOver()
	return family{root: prefix, paths: map[string]web.HandlerFunc{
		prefix + "/start":     flow.Start,
		prefix + "/callback":  flow.Callback,
		prefix + "/silent":    flow.SilentCode,
		prefix + "/sign_in":   flow.SignIn,
		prefix + "/signed_in": flow.SignedIn,
		prefix + "/sign_out":  flow.SignOut,
		prefix + "/userinfo":  flow.UserInfo(authenticate),
		prefix + "/sessions":  login.OwnSessions(flow, applications),
		prefix + "/leave":     leave,
		prefix + "/arrive":    accept,
		prefix + "/assets/":   flow.Pages.Asset,
	}}
}

func keyEndpoints(c settings) family {
	if c.assertions == nil {
		return family{}
	}
	return family{root: c.Prefix, paths: map[string]web.HandlerFunc{c.Prefix + "/jwks.json": jwks(c.assertions)}}
}

func ssoEndpoints(service *sso.Server) family {
	if service == nil {
		return family{}
	}
	return family{root: config.SSORoot, paths: service.Handlers()}
}

// endpoints routes requests to our own endpoints. A path below one of the roots that is
// not registered is 404 and never proxied.
type endpoints struct {
	roots       []string
	publicRoots []string // on public_url's host only
	origins     *web.Origins
	paths       []string // all registered paths
	router      *mux.Router
}

// newEndpoints registers the families; the first one is the prefix's. mux neither cleans
// nor redirects: paths were checked before, and its redirects would lose a POST.
func newEndpoints(c settings, families ...family) *endpoints {
	e := &endpoints{origins: c.origins, router: mux.NewRouter().SkipClean(true).UseEncodedPath()}
	answer := c.pages.Answer
	for _, f := range families {
		if f.root == "" {
			continue
		}
		roots := &e.roots
		if f.publicHost {
			roots = &e.publicRoots
		}
		if !slices.Contains(*roots, f.root) {
			*roots = append(*roots, f.root)
		}
		for path, h := range f.paths {
			e.paths = append(e.paths, path)
			handler := handle(strings.Trim(strings.TrimPrefix(path, c.Prefix), "/"), h, answer)
			if strings.HasSuffix(path, "/") {
				e.router.PathPrefix(path).Handler(handler)
			} else {
				e.router.Path(path).Handler(handler)
			}
		}
	}
	notFound := handle("", func(http.ResponseWriter, *http.Request) error {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}, answer)
	e.router.NotFoundHandler, e.router.MethodNotAllowedHandler = notFound, notFound
	return e
}

// maxBodyWait is how long a request to our own endpoints may send its body.
const maxBodyWait = 10 * time.Second

// handle sets the endpoint's name for log and metrics and answers its error.
func handle(name string, h web.HandlerFunc, answer func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := web.From(w)
		x.Endpoint = name
		if r.ContentLength != 0 { // slow bodies (threats D2)
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(maxBodyWait))
			r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		}
		if err := h(w, r); err != nil {
			x.Err = err
			answer(w, r, err)
		}
	})
}

// match reports whether a path is ours on a host. A path that only some programs would
// interpret as ours is refused (threats P14).
func (e *endpoints) match(p web.Path, host string) (ours bool, err error) {
	public := len(e.publicRoots) > 0 && e.origins.OnPublic(host)
	under := func(path string) bool { return below(path, e.roots) || public && below(path, e.publicRoots) }
	if under(p.Plain) {
		if p.Raw != p.Plain {
			return false, &web.Error{Status: http.StatusNotFound, Code: "not_found"}
		}
		return true, nil
	}
	if slices.ContainsFunc(p.Readings, under) {
		return false, &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	return false, nil
}

// below ignores letter case: some programs treat /OAuth2/auth as ours. Here it is 404,
// since no endpoint is registered under this name.
func below(path string, roots []string) bool {
	for _, root := range roots {
		if web.UnderFold(path, root) {
			return true
		}
	}
	return false
}
