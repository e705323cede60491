// Package account knows the people who sign in without DingTalk, and which
// DingTalk person is which account.
//
//	name, password ─► File.Verify ─► nil, ErrWrong, ErrBusy or *WaitError
//	                      │ limit per client and account, then one of few places, then bcrypt
//	DingTalk person ─► Policy.Resolve ─► the same person under the account's name, or a refusal
//	                      └─► Bindings (memory here, a file or Redis below session/)
//	CSV ─► ParseCSV ─► every bad line, or Bindings.Add: all or none
//
// Forms, cookies and the browser's one-time link live in proxy/login.
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
	// HtpasswdFile holds one `name:hash` a line, of bcrypt alone (htpasswd -B).
	// It is read again when it changes. Empty: no local accounts.
	HtpasswdFile string `yaml:"htpasswd_file"`

	// Binding says whether people who sign in with DingTalk are accounts: Off
	// (also when empty), Optional or Required.
	Binding string `yaml:"binding"`
}

// What accounts.binding may be.
const (
	Off      = "off"      // DingTalk people and local accounts have nothing to do with each other
	Optional = "optional" // who is bound has the account's name
	Required = "required" // who is not bound does not get in
)

// Check finds the mistakes below key (`accounts`); it opens and changes nothing.
func (c Config) Check(p *conf.Problems, key string) {
	at := p.At("%s.binding", key)
	at.If(c.Binding != "" && c.Binding != Off && c.Binding != Optional && c.Binding != Required,
		"is not off, optional or required")
	at.Warn(c.Binds() && c.HtpasswdFile == "",
		"works without accounts.htpasswd_file only for people who are bound with \"dinggate bindings import\": "+
			"nobody can bind their own account")
}

// Binds reports whether DingTalk people can be bound to accounts.
func (c Config) Binds() bool { return c.Binding == Optional || c.Binding == Required }

// Errors of Bindings. Any other one means that the store is failing and nothing may
// be concluded from it.
var (
	ErrNone = errors.New("account: no such binding")
	ErrFull = errors.New("account: there are too many bindings")
)

// MaxBindings bounds what is kept.
const MaxBindings = 200_000

// Bounds of names, in bytes.
const (
	maxUsername = 128
	maxUnionID  = 128
)

// wrongName gives the reason why a text is no account's name; "" when
// nothing does. Names go into headers, files and log lines.
func wrongName(name string) conf.Text {
	switch {
	case name == "":
		return conf.Textf("has no account name")
	case len(name) > maxUsername:
		return conf.Textf("has an account name longer than 128 bytes")
	case !utf8.ValidString(name):
		return conf.Textf("is not UTF-8")
	case strings.TrimSpace(name) != name:
		return conf.Textf("has blanks around a name")
	case strings.ContainsFunc(name, func(r rune) bool {
		return r == ':' || unicode.Is(unicode.C, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
	}):
		// Cf too: a bidi mark makes one name look like another
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
