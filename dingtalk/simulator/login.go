package simulator

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	loginPath  = "/oauth2/auth"
	buttonsMax = 100
)

//go:embed login.html
var loginHTML string

//go:embed login.css
var loginCSS string

var loginPage = template.Must(template.New("login").Parse(loginHTML))

// stylePolicy is a Content-Security-Policy that allows the page's style sheet alone.
func stylePolicy() string {
	sum := sha256.Sum256([]byte(loginCSS))
	return "default-src 'none'; img-src data:; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; frame-ancestors 'none'; base-uri 'none'"
}

// pageError is an error that the page shows instead of redirecting.
type pageError struct{ Code, Zh, En string }

var (
	noClient   = &pageError{"client_id_invalid", "应用不存在或 Client ID 不正确", "There is no app with this client id."}
	noRedirect = &pageError{"redirect_uri_mismatch", "回调地址未在开发者后台登记（开发配置 > 安全设置 > 重定向URL）",
		"This redirect URI is not registered for the app."}
	noType  = &pageError{"response_type_invalid", "参数 response_type 必须为 code", "response_type must be \"code\"."}
	noScope = &pageError{"scope_invalid", "参数 scope 必须为 openid 或 openid corpid（以空格分隔）",
		"scope must be \"openid\" or \"openid corpid\", separated by a space."}
	noPrompt   = &pageError{"prompt_missing", "缺少参数 prompt=consent", "prompt=consent is missing."}
	notLive    = &pageError{"app_unavailable", "应用未发布或已停用", "The app is not published, or it was stopped."}
	notInRange = &pageError{"app_not_visible", "该应用对你不可见，请联系管理员调整可使用范围",
		"This app is not visible to you; its administrator sets who may use it."}
	noOutsiders   = &pageError{"other_organisation", "该应用仅限本组织成员使用", "This app is for members of its own organisation."}
	unknownPerson = &pageError{"person_unknown", "没有这个人", "There is no such person."}
)

// authRequest holds the parameters of the sign-in page's URL.
type authRequest struct {
	app      *App
	redirect string
	state    string
	hasState bool
	corpid   bool   // the scope requests the chosen organisation
	corp     string // the requested organisation; a hint that the person may have edited
}

// signInButton is a button of the page: a person, in one organisation.
type signInButton struct {
	ID, Value, Name, Initial, Detail string
	Zh, En                           string
}

// serveSignIn is GET /oauth2/auth. There are no passwords: `person` in the query (which
// the buttons add) selects who signs in, "-" is the deny button. A person of several
// organisations is selected as "ID@corpId".
func serveSignIn(p *Platform, w http.ResponseWriter, r *http.Request, _ []byte) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	target, pageErr, page := authorize(p, r)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if target != "" {
		w.Header().Set("Location", target)
		w.WriteHeader(http.StatusFound)
		return
	}
	page["Style"], page["Problem"] = template.CSS(loginCSS), pageErr
	var out bytes.Buffer
	if err := loginPage.Execute(&out, page); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", stylePolicy())
	if pageErr != nil {
		w.WriteHeader(http.StatusBadRequest)
	}
	w.Write(out.Bytes())
}

// authorize returns one of three: the redirect, the error, or the data of the page.
func authorize(p *Platform, r *http.Request) (target string, pageErr *pageError, page map[string]any) {
	defer p.lock()()
	q := r.URL.Query()
	page = map[string]any{"Org": p.org.department(1).Name}
	ask, pageErr := parseAuthRequest(p, q)
	if pageErr != nil {
		return "", pageErr, page
	}
	pick := q.Get("person")
	if pick == "" || r.Method != http.MethodGet { // HEAD must not sign in
		page["App"], page["Choices"], page["Query"] = cmp.Or(ask.app.Name, ask.app.ClientID), signInButtons(p, ask), q
		return "", nil, page
	}
	if pick == "-" {
		return ask.callbackURL("error", "access_denied"), nil, page
	}
	id, corp, _ := strings.Cut(pick, "@")
	who := p.org.person(id)
	if who == nil {
		return "", unknownPerson, page
	}
	if pageErr := checkAppAccess(p, ask.app, who); pageErr != nil {
		return "", pageErr, page
	}
	c := code{kind: Browser, app: ask.app.ClientID, person: who.ID}
	if ask.corpid {
		c.corp = p.org.chosenCorp(who, corp, ask.corp)
	}
	text := p.credentials.issueCode(p.now(), c)
	switch p.form {
	case CodeOnly:
		return ask.callbackURL("code", text), nil, page
	case BothCodes:
		return ask.callbackURL("code", text, "authCode", text), nil, page
	}
	return ask.callbackURL("authCode", text), nil, page
}

func parseAuthRequest(p *Platform, q url.Values) (authRequest, *pageError) {
	ask := authRequest{
		redirect: q.Get("redirect_uri"),
		state:    q.Get("state"),
		hasState: q.Has("state"),
		corp:     q.Get("corpId"),
	}
	scopes := strings.Split(q.Get("scope"), " ")
	ask.corpid = slices.Contains(scopes, "corpid")
	if q.Get("client_id") != "" {
		ask.app = p.apps.get(q.Get("client_id"))
	}
	switch {
	case ask.app == nil:
		return ask, noClient
	case ask.app.Unpublished || ask.app.Stopped:
		return ask, notLive
	case !ask.app.allowsRedirect(ask.redirect):
		return ask, noRedirect
	case q.Get("response_type") != "code":
		return ask, noType
	case scopes[0] != "openid" || len(scopes) > 2 || len(scopes) == 2 && !ask.corpid:
		return ask, noScope
	case !slices.Contains(strings.Fields(q.Get("prompt")), "consent"):
		return ask, noPrompt
	}
	return ask, nil
}

// checkAppAccess accepts people of other organisations, inactive and disabled
// people unless the app refuses them: clients must handle this worst case.
func checkAppAccess(p *Platform, a *App, who *Person) *pageError {
	switch {
	case !who.member() && a.RefuseOutsiders:
		return noOutsiders
	case who.member() && !p.org.uses(a, who):
		return notInRange
	}
	return nil
}

// corps are the organisations a person may choose, ours first.
func (o *organisation) corps(who *Person) []string {
	if who.member() {
		return append([]string{o.corpID}, who.Corps...)
	}
	return who.Corps
}

// chosenCorp is the organisation of the code: the one clicked, otherwise the requested
// one, otherwise the person's first; "" if there is none.
func (o *organisation) chosenCorp(who *Person, clicked, asked string) string {
	mine := o.corps(who)
	for _, corp := range []string{clicked, asked} {
		if slices.Contains(mine, corp) {
			return corp
		}
	}
	if len(mine) == 0 {
		return ""
	}
	return mine[0]
}

// signInButtons returns the buttons of the page. The organisation is chosen with the
// person if the scope requests it and the URL does not name one of theirs.
func signInButtons(p *Platform, ask authRequest) []signInButton {
	var list []signInButton
	for _, who := range p.org.people[:min(len(p.org.people), buttonsMax)] { // the others sign in by URL only
		zh, en := who.label()
		name := cmp.Or(cmp.Or(who.Name, who.Nick), who.ID)
		first, _ := utf8.DecodeRuneInString(name)
		c := signInButton{
			ID:      "person-" + who.ID,
			Value:   who.ID,
			Name:    name,
			Initial: string(first),
			Detail:  p.org.affiliation(who),
			Zh:      zh,
			En:      en,
		}
		list = append(list, c)
		mine := p.org.corps(who)
		if !ask.corpid || len(mine) < 2 || slices.Contains(mine, ask.corp) {
			continue
		}
		for _, corp := range mine[1:] {
			c.ID, c.Value, c.Detail = "person-"+who.ID+"-"+corp, who.ID+"@"+corp, corp
			list = append(list, c)
		}
	}
	return list
}

// affiliation is the second line of a button.
func (o *organisation) affiliation(who *Person) string {
	var names []string
	for _, id := range who.Departments {
		if d := o.department(id); d != nil {
			names = append(names, d.Name)
		}
	}
	for _, id := range who.Roles {
		if r := o.role(id); r != nil {
			names = append(names, r.Name)
		}
	}
	return strings.Join(names, " · ")
}

// callbackURL is the redirect URI with DingTalk's parameters, the state last.
func (ask authRequest) callbackURL(pairs ...string) string {
	u, _ := url.Parse(ask.redirect) // allowsRedirect parsed it
	var add []string
	for i := 0; i < len(pairs); i += 2 {
		add = append(add, pairs[i]+"="+url.QueryEscape(pairs[i+1]))
	}
	if ask.hasState {
		add = append(add, "state="+url.QueryEscape(ask.state))
	}
	if u.RawQuery != "" {
		add = append([]string{u.RawQuery}, add...)
	}
	u.RawQuery, u.Fragment = strings.Join(add, "&"), ""
	return u.String()
}
