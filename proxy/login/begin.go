package login

import (
	"errors"
	"net/http"
	"net/url"

	"dinggate/internal/web"
)

// mayBegin refuses what nobody sees as a sign-in, before anything is counted or
// set: frames, images and scripts of a page would use an office's allowance up
// and push out what is under way (threats S10). A person comes by a top-level
// navigation, whichever site links here; a script is one of our pages and asks
// for JSON; a program says nothing of all this.
func (f *Flow) mayBegin(r *http.Request) error {
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
func (f *Flow) refererElsewhere(r *http.Request) bool {
	referer := r.Header["Referer"]
	if len(referer) == 0 || len(r.Header["Sec-Fetch-Site"]) > 0 {
		return false
	}
	u, err := url.Parse(referer[0])
	return len(referer) > 1 || err != nil || !f.Origins.Ours(u.Scheme+"://"+u.Host) && u.Host != r.Host
}
