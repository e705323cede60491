package oidc

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"dinggate/internal/page"
	"dinggate/internal/web"
	"dinggate/store/grant"
)

const deviceField = "device"

// Device is the page at which a person confirms the request of a program without a browser. It
// shows the application and the address of the program, since anyone can send a code to another
// person (threats E10).
//
//	GET ─► form for the code ─ POST ─► application, place ─ POST ─► confirmed, or refused
func (p *Provider) Device(w http.ResponseWriter, r *http.Request) error {
	web.From(w).Endpoint = "oidc_device"
	raw := r.URL.RawQuery
	switch r.Method {
	case http.MethodGet, http.MethodHead:
	case http.MethodPost:
		if !web.SameOrigin(r, p.Ours) {
			return &web.Error{Status: http.StatusForbidden, Code: "cross_site"}
		}
		var err error
		if raw, err = formBody(r, maxRequest); err != nil {
			return bodyError(err)
		}
	default:
		return methodNotAllowed("GET, POST")
	}
	form, err := parseParams(raw)
	if err != nil || form.once("user_code", deviceField, decision) != "" {
		return pageError(http.StatusBadRequest, "oidc_request", "the form does not read")
	}
	typed := form.get("user_code")
	in, err := p.Browser.Current(r)
	if errors.Is(err, ErrSignedOut) {
		target := PathDevice
		if code, ok := readUserCode(typed); ok {
			target += "?user_code=" + url.QueryEscape(shownUserCode(code))
		}
		return p.Browser.SignIn(w, r, target)
	} else if err != nil {
		return err
	}
	web.From(w).User = in.User.Username
	d := &devicePage{p, w, r, in}
	ctx, cancel := context.WithTimeout(r.Context(), memberTimeout)
	defer cancel()
	switch {
	case r.Method == http.MethodPost && form.get(deviceField) != "":
		return d.decide(ctx, form)
	case typed != "":
		return d.confirm(ctx, typed)
	}
	d.form("")
	return nil
}

type devicePage struct {
	p  *Provider
	w  http.ResponseWriter
	r  *http.Request
	in Login
}

func (d *devicePage) form(wrong string) {
	d.p.Pages.Ask(
		d.w,
		d.r,
		page.AskData{Kind: page.AskCode, Who: d.in.User.FullName(), Action: PathDevice, Input: "user_code", Wrong: wrong},
	)
}

// confirm shows the request of a code. Attempts are limited: with eight of twenty letters, a guess
// hits one of a thousand live codes once in 25 million.
func (d *devicePage) confirm(ctx context.Context, typed string) error {
	p := d.p
	sub, err := p.subjects().of(ctx, &d.in.User)
	if err != nil {
		return d.noSubject(err)
	}
	if wait, ok := p.counts().typed.Allow(typedLimit, sub, p.now()); !ok {
		return &web.Error{
			Status:     http.StatusTooManyRequests,
			Code:       "too_many_attempts",
			RetryAfter: wait,
			Err:        errors.New("oidc: user codes tried by one person"),
		}
	}
	code, ok := readUserCode(typed)
	if !ok {
		d.form(page.WrongCode)
		return nil
	}
	_, what, err := p.waitingDevice(ctx, code)
	switch {
	case errors.Is(err, grant.ErrNone):
		d.form(page.WrongCode)
		return nil
	case err != nil:
		return asPage(unavailable(err))
	case d.outdated(what):
		return d.signInAgain(code, what)
	}
	p.counts().typed.Return(typedLimit, sub)
	field, err := p.sealForm(formState{Session: d.in.Session, Kind: askDevice, Device: code})
	if err != nil {
		return err
	}
	p.Pages.Ask(
		d.w,
		d.r,
		page.AskData{
			Kind:        page.AskDevice,
			Application: what.Client,
			Who:         d.in.User.FullName(),
			Action:      PathDevice,
			Place:       what.Device.Place,
			Code:        shownUserCode(code),
			Learns:      learns(what.Scope),
			Fields:      [][2]string{{deviceField, field}},
		},
	)
	return nil
}

// outdated reports whether the sign-in is too old to confirm the grant.
func (d *devicePage) outdated(what *given) bool {
	return d.p.clients.all[what.Client].outdated(&d.in, time.Time{}, d.p.now())
}

// signInAgain has the person sign in, and come back to the code. A form's answer leads
// to the page first: a sign-in begins with a page load.
func (d *devicePage) signInAgain(code string, what *given) error {
	target := PathDevice + "?user_code=" + url.QueryEscape(shownUserCode(code))
	if d.p.clients.all[what.Client].wantsClick() {
		target += "&" + clickParam + "=1"
	}
	if d.r.Method == http.MethodPost {
		sendTo(d.w, http.StatusSeeOther, target)
		return nil
	}
	return d.p.Browser.SignIn(d.w, d.r, target)
}

func (d *devicePage) noSubject(err error) error {
	if !errors.Is(err, errNoSubject) && !errors.Is(err, errUnsettled) {
		return asPage(unavailable(err))
	}
	return &web.Error{Status: http.StatusForbidden, Code: "oidc_no_subject", Who: d.in.User.FullName(), Err: err}
}

// waitingDevice finds the undecided grant of a user code, or grant.ErrNone.
func (p *Provider) waitingDevice(ctx context.Context, code string) (*grant.Grant, *given, error) {
	var r userCodeRecord
	_, found, err := p.records().read(ctx, userCodeKey(code), &r)
	if err != nil {
		return nil, nil, err
	}
	f, ok := grant.ParseFamily(r.Family)
	if !found || !ok {
		return nil, nil, grant.ErrNone
	}
	g, err := p.Grants.ByFamily(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	var what given
	if g.Live || g.Read(&what) != nil || what.Device == nil || what.Device.Approved || what.Device.Denied ||
		p.clients.all[what.Client] == nil {
		return nil, nil, grant.ErrNone
	}
	return g, &what, nil
}

// decide handles the person's answer.
func (d *devicePage) decide(ctx context.Context, form params) error {
	p, u := d.p, &d.in.User
	state, err := p.openForm(askDevice, form.get(deviceField), d.in.Session)
	if err != nil {
		return pageError(http.StatusBadRequest, "oidc_expired", "%w", err)
	}
	agreed := form.get(decision) == allow
	for range deviceSwaps {
		g, what, err := p.waitingDevice(ctx, state.Device)
		switch {
		case errors.Is(err, grant.ErrNone):
			d.form(page.WrongCode)
			return nil
		case err != nil:
			return asPage(unavailable(err))
		}
		c := p.clients.all[what.Client]
		if agreed && d.outdated(what) {
			return d.signInAgain(state.Device, what)
		}
		if err := d.sign(ctx, c, what, agreed); err != nil {
			return err
		}
		err = p.Grants.Update(ctx, g, what)
		if errors.Is(err, grant.ErrReused) { // a poll came between
			continue
		} else if err != nil {
			return asPage(unavailable(err))
		}
		kind := page.DeviceDenied
		if agreed {
			kind = page.DeviceDone
		}
		p.Pages.Ask(d.w, d.r, page.AskData{Kind: kind, Application: c.ClientID, Who: u.FullName()})
		return nil
	}
	return asPage(unavailable(errors.New("the record changes all the time")))
}

// sign writes the person, or the refusal, into the grant, after the audit record.
func (d *devicePage) sign(ctx context.Context, c *client, what *given, agreed bool) error {
	p, u := d.p, &d.in.User
	e := Event{What: "oidc_device", Application: c.ClientID, User: u.Username, UserID: u.UserID, Reason: "refused"}
	what.Device.Denied = !agreed
	if agreed {
		if _, ok := c.admits(u); !ok {
			e.Reason = "not_allowed"
			p.audit(web.From(d.w), e)
			e := pageError(http.StatusForbidden, "not_allowed",
				"the rule of client %q names this person in no part; see its access", c.ClientID).(*web.Error)
			e.Who = u.FullName()
			return e
		}
		sub, err := p.subjects().of(ctx, u)
		if err != nil {
			return d.noSubject(err)
		}
		if c.namesPaths() {
			if err := p.disclosure().learnPaths(ctx, u.Departments); err != nil {
				return asPage(unavailable(err))
			}
		}
		what.Device.Approved, what.Sub, what.Login = true, sub, d.in
		e.Reason = "agreed"
	}
	if err := p.audit(web.From(d.w), e); err != nil && agreed {
		return &web.Error{Status: http.StatusServiceUnavailable, Code: "audit_unavailable", RetryAfter: retryAfter, Err: err}
	}
	return nil
}
