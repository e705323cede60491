package page

import (
	"net/http"
)

// SilentData is the data of the page that signs in inside the DingTalk client.
type SilentData struct {
	CorpID, ClientID string
	State            string // of the attempt
	PostURL          string // the URL to which its script sends the code: one of our paths
	StartURL         string // the ordinary sign-in, as the alternative
}

type silentView struct {
	view
	SilentData
	Script  string
	Loop    message // the message if the session does not stay
	Message message
}

// Silent shows that a sign-in is in progress while the script performs it. Without scripts, in an
// old client, or after a failure people get the button.
func (p *Pages) Silent(w http.ResponseWriter, r *http.Request, data SilentData) {
	v := silentView{
		view:       p.view(w, r),
		SilentData: data,
		Script:     p.assetURL("", "silent.js"),
		Loop:       enMessages["sign_in_loop"],
		Message:    enMessages["silent_failed"],
	}
	if v.Lang != "en" {
		v.Loop, v.Message = zhMessages["sign_in_loop"], zhMessages["silent_failed"]
	}
	v.StartURL, v.PostURL = link(data.StartURL), ""
	if ownPath(data.PostURL) {
		v.PostURL = data.PostURL
	}
	v.CorpID, v.ClientID, v.State = clean(data.CorpID, 128), clean(data.ClientID, 128), clean(data.State, 128)
	v.Heading, v.Bare, v.Switch = v.Words.Silent, true, "" // ?lang= here would be the application's
	p.render(w, r, "silent", p.scriptCSP, http.StatusOK, v)
}
