package page

import "net/url"

// QR is the data for DingTalk's own script, which draws a QR code on the sign-in page; the sign-in
// ends at our callback, like one by redirect.
type QR struct {
	RedirectURI string // our callback, as registered at DingTalk
	ClientID    string
	State       string // of this browser's attempt
	LoginURL    string // of DingTalk, whose page the frame shows
}

// qrScript is loaded from DingTalk: no licence allows others to serve it.
const qrScript = "https://g.alicdn.com/dingding/h5-dingtalk-login/0.21.0/ddlogin.js"

type qrView struct {
	QR
	Theirs, Ours string // scripts
}

// qr makes the view, and the policy that allows what the QR code needs and nothing else; without
// data both are returned unchanged.
func (p *Pages) qr(data *QR, csp string) (*qrView, string) {
	if data == nil {
		return nil, csp
	}
	login, err := url.Parse(data.LoginURL)
	if err != nil || login.Host == "" || link(data.LoginURL) == "" {
		return nil, csp
	}
	v := &qrView{QR{clean(data.RedirectURI, 2048), clean(data.ClientID, 128), clean(data.State, 128), ""}, qrScript,
		p.assetURL("", "qr.js")}
	return v, csp + "; script-src 'self' " + qrScript + "; frame-src " + login.Scheme + "://" + login.Host
}
