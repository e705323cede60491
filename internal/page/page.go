// Package page renders our pages in Chinese and English.
//
//	handler ── data ──► SignIn, Sessions, Console, … ─┬─► one HTML file
//	Chain ──── error ─► Answer ─┬─ page load ─────────┘
//	                            └─ otherwise ─► JSON
//
// The style of a page is inline and named in the CSP by its hash, and its logo is a data: URL. The
// only thing that a page loads is its own script below the prefix (assets/), if it has one; an
// error page works without it, so that a gateway can relay it from any path.
//
// Other packages decide which error happened; this package has only the texts for people: of errors
// by code (messages_zh.go, messages_en.go), of pages (messages.go, and beside the page), of the
// console (console_words.go). web.Error.Err, which is for the operator, is never shown.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"dinggate/internal/conf"
	"dinggate/internal/web"
)

//go:embed pages
var files embed.FS

// Config describes the organisation to the pages. The zero value gives complete pages without a
// name.
type Config struct {
	Title Text // of the application or the company, on every page; truncated to 60 characters

	// Contact is who can help: an e-mail address or a URL with the scheme https, mailto or
	// dingtalk becomes a link, any other text stays text.
	Contact Text

	Logo     []byte // a picture of at most MaxLogo bytes; nil draws the first letter of Title
	LogoType string // its media type; "" detects it from the bytes

	// the directory field that names people, as in dingtalk.username; the message to a person
	// without it names the field
	Username string

	Lead   Text   // below the title of the sign-in page; "" is ours
	Note   Text   // at its end; "" is ours
	Accent string // colour of buttons, as #0f62de; "" is ours

	// Templates returns the organisation's own file for one in the folder pages: layout.html,
	// sign_in.html … style.css. fs.ErrNotExist means ours. If nil, all are ours.
	Templates func(name string) ([]byte, error)

	PublicURL string // scheme://host of links to our own endpoints; "" keeps them on the request's host
	Prefix    string // of dinggate's endpoints, such as /oauth2
}

// MaxLogo bounds Config.Logo, which is part of every page.
const MaxLogo = 128 << 10

// logoTypes are the picture formats that every browser shows. In an <img>, SVG runs no script and
// loads nothing.
var logoTypes = []string{"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml"}

// Pages holds the compiled pages; immutable and safe for concurrent use.
type Pages struct {
	texts map[string]ownTexts // by language
	// key of the message for a person without the field that names people; "" is no_username
	missing        string
	logo, style    template.HTML
	consoleStyle   template.HTML
	consoleCSP     string
	prefix, public string
	csp, formCSP   string
	errorCSP       string            // of the pages with a request id to copy
	scriptCSP      string            // of the pages that need one of our scripts
	assets         map[string][]byte // by the name under which they are served
	assetNames     map[string]string // file → that name
	templates      map[string]*template.Template
	replies        map[string][2][]byte // message key → its text in zh and en, as JSON
}

// New compiles the pages and renders each of them once with empty data and once with all data, so
// that an invalid template fails at the start and not on a request.
func New(c Config) (*Pages, error) {
	p := &Pages{texts: c.texts(), missing: missing[c.Username], public: c.PublicURL, prefix: c.Prefix}
	var err error
	if p.logo, err = logo(c); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	css, err := c.read("style.css")
	if err != nil {
		return nil, fmt.Errorf("page: reading the style: %w", err)
	}
	colours, err := accent(c.Accent)
	if err != nil {
		return nil, err
	}
	css = append(css[:len(css):len(css)], colours...)
	p.style = template.HTML("<style>" + string(css) + "</style>")
	if err := p.styleConsole(c, css); err != nil {
		return nil, err
	}
	if err := p.loadAssets(); err != nil {
		return nil, err
	}
	policy := stylePolicy(css) + "; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action "
	p.csp, p.formCSP = policy+"'none'", policy+"'self'"
	p.scriptCSP = policy + "'none'; script-src 'self'; connect-src 'self'"
	p.errorCSP = p.scriptCSP
	if p.public != "" { // a gateway may show the page on another of our hosts
		p.errorCSP = policy + "'none'; script-src " + p.assetURL(p.public, "page.js")
	}
	if err := p.compile(c); err != nil {
		return nil, err
	}
	p.replies = make(map[string][2][]byte, len(zhMessages))
	for key := range zhMessages {
		for i, m := range []message{zhMessages[key], enMessages[key]} {
			text, err := json.Marshal(m.Text)
			if err != nil {
				return nil, fmt.Errorf("page: message %s: %w", key, err)
			}
			both := p.replies[key]
			both[i] = text
			p.replies[key] = both
		}
	}
	return p, nil
}

// stylePolicy allows a page only this style.
func stylePolicy(css []byte) string {
	sum := sha256.Sum256(css)
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// styleConsole adds the console's own style to that of all pages.
func (p *Pages) styleConsole(c Config, css []byte) error {
	own, err := c.read("wide.css")
	if err != nil {
		return fmt.Errorf("page: reading the console's style: %w", err)
	}
	css = append(css[:len(css):len(css)], own...)
	p.consoleStyle = template.HTML("<style>" + string(css) + "</style>")
	p.consoleCSP = stylePolicy(css) + "; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
	return nil
}

func (p *Pages) compile(c Config) error {
	p.templates = make(map[string]*template.Template)
	for name, sample := range map[string]any{"error": errorView{}, "sign_in": signInView{}, "account": accountView{},
		"signed_out": signInView{}, "confirm": confirmView{}, "signed_in": signedInView{}, "who": whoView{},
		"silent": silentView{}, "waiting": waitingView{}, "ask": askView{}, "post_form": postFormView{},
		"access": accessView{}, "sessions": sessionsView{}, "console": consoleView{}} {
		t, err := c.parse(name)
		for _, data := range []any{sample, filled(sample)} {
			if err == nil {
				err = t.ExecuteTemplate(new(bytes.Buffer), "layout", data)
			}
		}
		if err != nil {
			return fmt.Errorf("page: compiling %s: %w", name, err)
		}
		p.templates[name] = t
	}
	return nil
}

func logo(c Config) (template.HTML, error) {
	if len(c.Logo) == 0 {
		return "", nil
	}
	if len(c.Logo) > MaxLogo {
		return "", conf.Errorf("the logo has %d bytes, more than %d; make it smaller", len(c.Logo), MaxLogo)
	}
	kind := c.LogoType
	if kind == "" {
		if kind = http.DetectContentType(c.Logo); bytes.Contains(c.Logo[:min(len(c.Logo), 1024)], []byte("<svg")) {
			kind = "image/svg+xml"
		}
	}
	for _, known := range logoTypes {
		if kind == known {
			return template.HTML(`<img class="logo" alt="" src="data:` + known + ";base64," +
				base64.StdEncoding.EncodeToString(c.Logo) + `">`), nil
		}
	}
	return "", conf.Errorf("the logo is %q; use one of %s", kind, strings.Join(logoTypes, ", "))
}

// view is the data of the layout, on every page.
type view struct {
	Words       texts  // operators' own templates use this name
	Lang        string // of <html>
	Title, Mark string
	Logo, Style template.HTML
	Heading     string // of this page
	Bare        bool   // the page shows logo and title itself
	Switch      template.URL
	OtherLang   string
	Contact     contact
	ID          string
	Posts       bool // the page has a form
	Refresh     int  // seconds after which the page is reloaded; 0: it is not
}

// view prepares the layout for one request. The page sets Heading.
func (p *Pages) view(w http.ResponseWriter, r *http.Request) view {
	lang := web.Language(r)
	own := p.texts[lang]
	v := view{
		Words:     zhTexts,
		Lang:      "zh-CN",
		OtherLang: "en",
		Title:     own.title,
		Mark:      own.mark,
		Logo:      p.logo,
		Style:     p.style,
		Contact:   own.contact,
		ID:        web.From(w).ID,
	}
	if lang == "en" {
		v.Words, v.Lang, v.OtherLang = enTexts, "en", "zh"
	}
	if own.lead != "" {
		v.Words.SignInLead = own.lead
	}
	if own.note != "" {
		v.Words.SignInNote = own.note
	}
	v.Switch = languageLink(w, r, v.OtherLang)
	return v
}

// render writes a page. New has rendered every page once, so that it should not fail; if it does,
// people get the JSON.
func (p *Pages) render(w http.ResponseWriter, r *http.Request, name, csp string, status int, data any) {
	var body bytes.Buffer
	if err := p.templates[name].ExecuteTemplate(&body, "layout", data); err != nil {
		p.answerJSON(w, r, &web.Error{Status: http.StatusInternalServerError, Code: "internal", Err: err})
		return
	}
	p.keepLanguage(w, r)
	web.SecurityHeaders(w, csp)
	if postsForm(csp) {
		w.Header()["Referrer-Policy"] = strictOrigin
	}
	send(w, r, status, htmlType, body.Bytes())
}

// postsForm reports whether a page's policy allows a form. With no-referrer a browser posts it
// with `Origin: null`, and one without fetch metadata (any browser on plain http, WebKit before
// 16.4) could not prove that the page is ours. The origin alone reveals no code (threats W13).
func postsForm(csp string) bool { return !strings.Contains(csp, "form-action 'none'") }

// Shared values of answer headers, read-only.
var (
	strictOrigin = []string{"strict-origin"}

	htmlType = []string{"text/html; charset=utf-8"}
	jsonType = []string{"application/json"}
)

func send(w http.ResponseWriter, r *http.Request, status int, kind []string, body []byte) {
	h := w.Header()
	h["Content-Type"] = kind
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) // an error means that the client has disconnected
	}
}
