package login

import (
	"dinggate/internal/ratelimit"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dinggate/internal/web"
)

// starter begins sign-ins: it puts an attempt into the browser and sends it to the
// provider.
type starter struct{ *Flow }

// mayBegin refuses what no person sees as a sign-in, before anything is counted or
// set: frames, images and scripts of a page would use an office's allowance up
// and push out what is under way (threats S10). A person comes by a top-level
// navigation, whichever site links here; a script is one of our pages and asks
// for JSON; a program says nothing of all this.
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

// refererElsewhere reports whether a browser without fetch metadata names another
// site's page as the one that asks. Many pages keep that to themselves.
func (f starter) refererElsewhere(r *http.Request) bool {
	referer := r.Header["Referer"]
	if len(referer) == 0 || len(r.Header["Sec-Fetch-Site"]) > 0 {
		return false
	}
	u, err := url.Parse(referer[0])
	return len(referer) > 1 || err != nil || !f.Origins.Ours(u.Scheme+"://"+u.Host) && u.Host != r.Host
}

// Start begins a sign-in: 302 to DingTalk, in the DingTalk client the silent
// page (unless silent=no stands before rd), or what a page needs to draw its own
// QR code when it asks for JSON (see ownPagePurpose). The return target is `rd`
// (see asked). A prefetch starts nothing.
func (f *Flow) Start(w http.ResponseWriter, r *http.Request) error { return starter{f}.serve(w, r) }

func (f starter) serve(w http.ResponseWriter, r *http.Request) error {
	x := web.From(w)
	x.Endpoint = "start"
	if err := getOnly(r); err != nil {
		return err
	}
	target, err := f.urls().asked(x, r)
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
	if !f.urls().onPublic(x) && f.Origins.HasHost(x.Host) { // an unknown host is a proxy that renames hosts: redirecting it would never end
		redirect(w, http.StatusFound, f.Origins.Public()+f.urls().path("/start", target))
		return nil
	}
	if !web.WantsJSON(r.Header) {
		if f.loops(r, target) {
			return &web.Error{
				Status: http.StatusForbidden, Code: "sign_in_loop",
				Err: errors.New("login: signed in a moment ago, and asked again for a host that our cookie does not reach"),
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

// loops reports whether the person has just signed in and comes again for a
// page that our cookie does not reach: the next sign-in would end the same way.
func (f starter) loops(r *http.Request, target string) bool {
	if strings.HasPrefix(target, "/") || strings.HasPrefix(target, f.Origins.Public()+"/") || f.Sessions.Cookie.Domain != "" {
		return false
	}
	s, err := f.loadSession(r, 0)
	return err == nil && f.now().Sub(s.SignedIn) < loopWithin
}

const loopWithin = 15 * time.Second

// redirectToProvider begins an attempt for target and sends the browser to DingTalk.
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

// begin puts a fresh attempt into the browser and gives its state. The attempt
// lives there alone: anonymous requests cost no memory and displace no attempt (threats S16),
// nor do frames and images of other pages (see mayBegin).
func (f starter) begin(w http.ResponseWriter, r *http.Request, x *web.Exchange, purpose, target string) (state string, err error) {
	if err := f.mayBegin(r); err != nil {
		return "", err
	}
	now := f.now()
	if x.Endpoint != "" { // a page load that leads here costs nothing: an office has one address, and its pages load many others
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
