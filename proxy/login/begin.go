package login

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/internal/ratelimit"
	"dinggate/internal/web"
)

// starter begins sign-ins: it stores an attempt in the browser and redirects it to the provider.
type starter struct{ *Flow }

// mayBegin refuses a request that does not show a sign-in to a person, before anything is counted
// or set: frames, images and scripts of a page would use up the allowance of an office and
// displace attempts in progress (threats S10). A person arrives by a top-level navigation, from
// whichever site; a script of dinggate requests JSON; a program sends no fetch metadata.
func (f starter) mayBegin(r *http.Request) error {
	if web.IsTopLevel(r.Method, r.Header) {
		return nil
	}
	refuse := func(code, why string) error {
		return &web.Error{Status: http.StatusForbidden, Code: code, Err: errors.New("login: begun by " + why)}
	}
	if !web.SameOrigin(r, f.Origins.Ours) || f.refererElsewhere(r) {
		return refuse("cross_site", "another site's frame, image or script")
	}
	_, browser := r.Header["Sec-Fetch-Mode"]
	if web.IsPageLoad(r.Method, r.Header) || web.Embeds(r.Header) || browser && !web.WantsJSON(r.Header) {
		return refuse("embedded", "a part of a page")
	}
	return nil
}

// refererElsewhere reports whether a browser without fetch metadata names a page of another site
// as the referrer. Many pages suppress the Referer.
func (f starter) refererElsewhere(r *http.Request) bool {
	referer := r.Header["Referer"]
	if len(referer) == 0 || len(r.Header["Sec-Fetch-Site"]) > 0 {
		return false
	}
	u, err := url.Parse(referer[0])
	return len(referer) > 1 || err != nil || !f.Origins.Ours(u.Scheme+"://"+u.Host) && u.Host != r.Host
}

// Start begins a sign-in. It redirects to DingTalk with 302, shows the silent page in the DingTalk
// client (unless silent=no precedes rd), or answers a JSON request with what a page needs to draw
// its own QR code (see ownPagePurpose). The return target is `rd` (see returnTarget). A prefetch
// begins nothing.
func (f *Flow) Start(w http.ResponseWriter, r *http.Request) error { return starter{f}.serve(w, r) }

func (f starter) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "start"
	if err := getOnly(r); err != nil {
		return err
	}
	target, err := f.urls().returnTarget(x, r)
	if err != nil {
		return err
	}
	if f.Origins.Place(x.Host) != "" && !web.WantsJSON(r.Header) {
		return handOver{f.Flow}.start(w, r, x, target)
	}
	if place, _ := f.Origins.PlaceOf(target); place != "" && !web.WantsJSON(r.Header) {
		again, err := parameter(r.URL.RawQuery, "silent")
		if err != nil {
			return err
		}
		redirect(w, http.StatusFound, f.ReauthURL(target, again != "no"))
		return nil
	}
	if !f.urls().onPublic(x) && f.Origins.HasHost(x.Host) { // an unknown host would loop
		redirect(w, http.StatusFound, f.Origins.Public()+f.urls().path("/start", target))
		return nil
	}
	if !web.WantsJSON(r.Header) {
		if f.loops(r, target) {
			return &web.Error{
				Status: http.StatusForbidden, Code: "sign_in_loop",
				Err: errors.New("login: signed in a moment ago, and redirected again from a host that our cookie does not reach"),
			}
		}
		silent, err := parameter(r.URL.RawQuery, "silent")
		if err != nil {
			return err
		}
		if f.Silent != nil && web.IsDingTalk(r) && silent != "no" && web.IsPageLoad(r.Method, r.Header) && !f.wantsClick(target) {
			return silentFlow{f.Flow}.show(w, r, x, target)
		}
		return f.redirectToProvider(w, r, x, target)
	}
	e, err := loginAPI{f.Flow}.ownPagePurpose(r, target)
	if err != nil {
		return err
	}
	state, err := f.begin(w, r, x, e.Kind, e.Target)
	if err != nil {
		return err
	}
	return web.JSON(w, r, http.StatusOK, struct {
		AuthorizeURL string `json:"authorize_url"`
		State        string `json:"state"`
		ClientID     string `json:"client_id"`
		RedirectURI  string `json:"redirect_uri"`
	}{f.Provider.AuthURL(e.RedirectURI, state), state, f.ClientID, e.RedirectURI})
}

// loops reports whether the person has just signed in and returns for a page that our cookie does
// not reach: the next sign-in would end the same way.
func (f starter) loops(r *http.Request, target string) bool {
	if strings.HasPrefix(target, "/") || strings.HasPrefix(target, f.Origins.Public()+"/") || f.Sessions.Cookie.Domain != "" {
		return false
	}
	s, err := f.loadSession(r, 0)
	return err == nil && f.now().Sub(s.SignedIn) < loopWithin
}

const loopWithin = 15 * time.Second

// redirectToProvider begins an attempt for target and redirects the browser to DingTalk.
func (f starter) redirectToProvider(w http.ResponseWriter, r *http.Request, x *web.Exchange, target string) error {
	return f.beginAndRedirect(w, r, x, Purpose{RedirectURI: f.urls().redirectURI(), Target: target})
}

func (f starter) beginAndRedirect(w http.ResponseWriter, r *http.Request, x *web.Exchange, e Purpose) error {
	state, err := f.begin(w, r, x, e.Kind, e.Target)
	if err != nil {
		return err
	}
	redirect(w, http.StatusFound, f.Provider.AuthURL(e.RedirectURI, state))
	return nil
}

// begin stores a new attempt in the browser and returns its state. The attempt is stored nowhere
// else: anonymous requests use no memory and displace no attempt (threats S16), nor do frames and
// images of other pages (see mayBegin).
func (f starter) begin(w http.ResponseWriter, r *http.Request, x *web.Exchange, purpose, target string) (state string, err error) {
	if err := f.mayBegin(r); err != nil {
		return "", err
	}
	now := f.now()
	if x.Endpoint != "" { // page loads do not count: an office has one address
		if wait, ok := f.counts().starts.Allow(f.Starts.Or(startsLimit), ratelimit.Client(x.Client), now); !ok {
			return "", f.limited("starts", wait)
		}
	}
	a := newAttempt(purpose, f.ClientID, web.HostName(x.Host), target, now)
	cookies, err := f.attempts().place(r.Header, a, now)
	if err != nil {
		return "", err
	}
	f.clearStaleCookie(w, r)
	for _, c := range cookies {
		addCookie(w, c)
	}
	return a.stateText(), nil
}
