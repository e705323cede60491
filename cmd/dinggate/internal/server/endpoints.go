package server

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"dinggate/internal/web"
	"dinggate/proxy/login"

	"github.com/gorilla/mux"
)

// endpoints are our own, each below a root such as the prefix. What is not
// registered there is 404 and never proxied.
type endpoints struct {
	roots  []string
	Router *mux.Router
	answer func(http.ResponseWriter, *http.Request, error)
}

// NewEndpoints registers the sign-in. mux neither cleans nor redirects: paths
// have been judged before, and a redirect of its own would lose a POST.
func NewEndpoints(prefix string, flow *login.Flow, answer func(http.ResponseWriter, *http.Request, error)) *endpoints {
	e := &endpoints{Router: mux.NewRouter().SkipClean(true).UseEncodedPath(), answer: answer}
	e.addTree(prefix, map[string]web.HandlerFunc{
		prefix + "/start": flow.Start, prefix + "/callback": flow.Callback, prefix + "/sign_in": flow.SignIn, prefix + "/signed_in": flow.SignedIn, prefix + "/sign_out": flow.SignOut, prefix + "/userinfo": flow.UserInfo, prefix + "/silent": flow.SilentCode,
	})
	e.Router.PathPrefix(prefix + "/assets/").Handler(handle("assets", flow.Pages.Asset, answer))
	notFound := handle("", func(http.ResponseWriter, *http.Request) error {
		return &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}, answer)
	e.Router.NotFoundHandler, e.Router.MethodNotAllowedHandler = notFound, notFound
	return e
}

// addTree takes everything below root, and serves these paths of it.
func (e *endpoints) addTree(root string, handlers map[string]web.HandlerFunc) {
	e.roots = append(e.roots, root)
	for path, h := range handlers {
		e.add(path, h)
	}
}

// add serves one more path below a root.
func (e *endpoints) add(path string, h web.HandlerFunc) {
	e.Router.Path(path).Handler(handle(strings.TrimPrefix(strings.TrimPrefix(path, e.roots[0]), "/"), h, e.answer))
}

// bodyWithin is how long a body to one of our own endpoints may take.
const bodyWithin = 10 * time.Second

// handle names the endpoint for log and metrics and answers its error.
func handle(name string, h web.HandlerFunc, answer func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := web.From(w)
		x.Endpoint = name
		if r.ContentLength != 0 { // slow bodies (threats D2)
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyWithin))
			r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
		}
		if err := h(w, r); err != nil {
			x.Err = err
			answer(w, r, err)
		}
	})
}

// match reports whether a path is ours. One that only some programs would read
// as ours is nobody's (threats P14).
func (e *endpoints) match(p web.Path) (ours bool, err error) {
	if e.under(p.Plain) {
		if p.Raw != p.Plain {
			return false, &web.Error{Status: http.StatusNotFound, Code: "not_found"}
		}
		return true, nil
	}
	if slices.ContainsFunc(p.Readings, e.under) {
		return false, &web.Error{Status: http.StatusNotFound, Code: "not_found"}
	}
	return false, nil
}

// under compares without letter case: /OAuth2/auth is ours to some programs, and
// nobody's here, since no endpoint is registered so.
func (e *endpoints) under(path string) bool {
	for _, root := range e.roots {
		if web.UnderFold(path, root) {
			return true
		}
	}
	return false
}

func (e *endpoints) serve(w http.ResponseWriter, r *http.Request) error {
	e.Router.ServeHTTP(w, r)
	return nil
}
