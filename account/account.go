// Package account implements local accounts, which sign in with a password, and
// bindings between DingTalk users and accounts.
//
//	name, password ─► File.Verify ─► nil, ErrWrong, ErrBusy or *WaitError
//	                      │ limit per client and account, then one of few places, then bcrypt
//	DingTalk person ─► Policy.Resolve ─► the same person under the account's name, or a refusal
//	                      └─► Bindings (in memory; in a file or Redis: store/)
//	CSV ─► ParseCSV ─► every bad line, or Bindings.Add: all or none
//
// Forms, cookies and the one-time account link are in proxy/login.
package account

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"dinggate/internal/conf"
)

// Config is the `accounts` part of the configuration.
type Config struct {
	// HtpasswdFile holds one `name:hash` per line, bcrypt only (htpasswd -B).
	// It is read again when it changes. If empty, there are no local accounts.
	HtpasswdFile string `yaml:"htpasswd_file"`

	// Binding is Off (also if empty), Optional or Required: whether a person who
	// signs in with DingTalk takes the name of the account they are bound to.
	Binding string `yaml:"binding"`
}

// Values of accounts.binding.
const (
	Off      = "off"      // DingTalk users and local accounts are unrelated
	Optional = "optional" // a bound person has the account's name
	Required = "required" // a person without a binding is refused
)

// Check reports every mistake below key (`accounts`). It opens and changes nothing.
func (c Config) Check(p *conf.Problems, key string) {
	at := p.At("%s.binding", key)
	at.If(c.Binding != "" && c.Binding != Off && c.Binding != Optional && c.Binding != Required,
		"is not off, optional or required")
	at.Warn(c.Binds() && c.HtpasswdFile == "",
		"works without accounts.htpasswd_file only for users bound by \"dinggate bindings import\": "+
			"users cannot bind an account themselves")
}

// Binds reports whether DingTalk users can be bound to accounts.
func (c Config) Binds() bool { return c.Binding == Optional || c.Binding == Required }

// Errors of Bindings. Any other error means that the store failed; the caller must
// conclude nothing from it.
var (
	ErrNone = errors.New("account: no such binding")
	ErrFull = errors.New("account: there are too many bindings")
)

// MaxBindings bounds how many bindings a store holds.
const MaxBindings = 200_000

// Bounds of names, in bytes.
const (
	maxUsername = 128
	maxUnionID  = 128
)

// wrongName returns the reason why s is not a valid account name, or "" if it is
// valid. Names go into headers, files and log lines.
func wrongName(name string) conf.Text {
	switch {
	case name == "":
		return conf.Textf("has no account name")
	case len(name) > maxUsername:
		return conf.Textf("has an account name longer than 128 bytes")
	case !utf8.ValidString(name):
		return conf.Textf("is not UTF-8")
	case strings.TrimSpace(name) != name:
		return conf.Textf("has spaces around a name")
	case strings.ContainsFunc(name, func(r rune) bool {
		return r == ':' || unicode.Is(unicode.C, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
	}):
		// Cf too: a bidi control makes one name look like another
		return conf.Textf("has a colon or an invisible character in a name")
	}
	return conf.Text{}
}

func wrongUnionID(id string) conf.Text {
	switch {
	case id == "":
		return conf.Textf("has no unionid")
	case len(id) > maxUnionID:
		return conf.Textf("has a unionid longer than 128 bytes")
	case strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' || r == '"' }):
		return conf.Textf("has a unionid with characters that DingTalk never uses")
	}
	return conf.Text{}
}
