package login

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"dinggate/account"
	"dinggate/internal/web"
	"dinggate/proxy/login/locallogin"
	"dinggate/session"
)

func (f *Flow) bindings() locallogin.Bindings {
	return locallogin.Bindings{Keyring: f.Keyring, Store: f.Used, People: f.People}
}

func (f *Flow) links() locallogin.Links {
	return locallogin.Links{
		Keyring:  f.Keyring,
		Store:    f.Used,
		ClientID: f.ClientID,
		Cookie:   locallogin.LinkCookie(f.Sessions.CookieName(), f.secure()),
		Secure:   f.secure(),
		Now:      f.now,
	}
}

// linkURL is the sign-in page for a link.
func (f *Flow) linkURL(token string) string {
	return f.Prefix + "/sign_in?link=" + url.QueryEscape(token)
}

// notBound is why a person got no session. token is the link to bind them; it does not appear in
// the error's text.
type notBound struct {
	token string
	cause error
}

func (e *notBound) Error() string { return e.cause.Error() }
func (e *notBound) Unwrap() error { return e.cause }

// accountLinkToken refuses a person who has to be bound first, and adds the link for that to the
// refusal.
func (f *Flow) accountLinkToken(ctx context.Context, w http.ResponseWriter, in session.SignIn, target string, cause error) error {
	refusal := &web.Error{Status: http.StatusForbidden, Code: account.NotBound, Err: cause}
	if f.Accounts == nil || in.User.UnionID == "" {
		return refusal // the link could not be used
	}
	target, _ = f.urls().allowed(target)
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	token, err := f.links().Offer(ctx, w, in, target)
	if err != nil {
		return unavailable(err)
	}
	refusal.Retry = f.linkURL(token)
	refusal.Err = &notBound{token, cause}
	return refusal
}

func (f *Flow) linkInvalid(err error) error {
	return &web.Error{Status: http.StatusForbidden, Code: "link_invalid", Retry: f.urls().path("/start", "/"), Err: err}
}

// openLink verifies that this browser may use a link. It uses nothing up.
func (f *Flow) openLink(r *http.Request, token string) (*locallogin.Link, error) {
	if f.Accounts == nil || !f.bindings().Enabled() {
		return nil, &web.Error{Status: http.StatusForbidden, Code: "binding_off"}
	}
	l, err := f.links().Open(r.Header, token)
	if err != nil {
		return nil, f.linkInvalid(err)
	}
	return l, nil
}

// useLink uses a link up and binds its person to the account.
func (f *Flow) useLink(r *http.Request, x *web.Exchange, l *locallogin.Link, username string) (session.SignIn, error) {
	ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
	defer cancel()
	in, err := f.links().Take(ctx, l)
	if errors.Is(err, locallogin.ErrLinkUsed) {
		return session.SignIn{}, f.linkInvalid(err)
	} else if err != nil {
		return session.SignIn{}, unavailable(err)
	}
	return in, f.makeBinding(ctx, x, account.Binding{UnionID: l.UnionID, Username: username}, l.Name)
}

// makeBinding binds. The audit record comes first: if records are required, no binding is made
// without one. If the binding then fails, the refusal is the next record of this request. person
// is the name of the DingTalk person.
func (f *Flow) makeBinding(ctx context.Context, x *web.Exchange, b account.Binding, person string) error {
	err := f.bindings().Make(ctx, b, person, f.now(), func() error {
		if lost := f.audit(x, Event{What: "bound", User: b.Username, UnionID: b.UnionID}); lost != nil {
			return auditUnavailable(lost)
		}
		return nil
	})
	if _, taken := errors.AsType[*account.TakenError](err); taken {
		return &web.Error{Status: http.StatusForbidden, Code: "already_bound", Err: err}
	}
	if err != nil {
		return unavailable(err)
	}
	return nil
}

// afterSignIn returns where a sign-in for target leads: first to the page that shows the binding,
// if one was made since the last sign-in. If the binding cannot be read now, the next sign-in
// shows it.
func (f *Flow) afterSignIn(ctx context.Context, s *session.Session, target string) string {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	b, err := f.bindings().Find(ctx, s)
	if err != nil {
		return target
	}
	if n, err := f.bindings().Note(ctx, b); err != nil || n.Shown(s.User.Local) {
		return target
	}
	return f.urls().path("/userinfo", target)
}
