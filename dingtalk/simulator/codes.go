package simulator

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// CodeLife is how long a code may wait for its exchange, on the platform's clock.
const CodeLife = 5 * time.Minute

// Kind is the DingTalk flow that issued a code. A code of one kind cannot be redeemed as another.
type Kind string

const (
	Browser Kind = "browser" // came back at a redirect URI; for userAccessToken
	Silent  Kind = "silent"  // requestAuthCode in the client (免登); for getuserinfo
	SNS     Kind = "sns"     // the legacy QR page; no endpoint here redeems it
)

// CallbackForm is the parameter of the redirect URI that contains the code.
// DingTalk's documentation contradicts itself, so a client must accept all three.
type CallbackForm int

const (
	AuthCode  CallbackForm = iota // authCode
	CodeOnly                      // code
	BothCodes                     // code and authCode, the same value
)

var callbackForms = []string{"authCode", "code", "both"}

// UnmarshalJSON reads "authCode", "code" or "both".
func (f *CallbackForm) UnmarshalJSON(data []byte) error {
	var name string
	if err := json.Unmarshal(data, &name); err != nil {
		return err
	}
	i := slices.Index(callbackForms, name)
	if i < 0 {
		return fmt.Errorf("simulator: callback form %q is none of %q", name, callbackForms)
	}
	*f = CallbackForm(i)
	return nil
}

// Code makes a code as if the person had just signed in to the app ("" = the
// first app) in that way, without the page.
func (p *Platform) Code(kind Kind, clientID, person string) (string, error) {
	defer p.lock()()
	a, who := p.apps.get(clientID), p.org.person(person)
	if a == nil || who == nil || !slices.Contains([]Kind{Browser, Silent, SNS}, kind) {
		return "", fmt.Errorf("simulator: making a %q code: no app %q, no person %q, or no such kind", kind, clientID,
			person)
	}
	return p.credentials.issueCode(p.now(), code{kind: kind, app: a.ClientID, person: who.ID}), nil
}

// SilentCode returns the code that the JSAPI of the DingTalk client gives to a
// page of the first app. It is "", which is never valid, for an unknown person.
func (p *Platform) SilentCode(person string) string {
	text, _ := p.Code(Silent, "", person)
	return text
}
