package browser

import (
	"net/url"
	"strings"
	"testing"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/cmd/dinggate/internal/servertest"
	"dinggate/internal/conf"
	"dinggate/oidc"

	"github.com/chromedp/chromedp"
)

// User-Agents of the people in the pictures.
const (
	agentWindows = "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	agentMac     = "User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15"
)

// accessPictures are the pages of access requests, of people's own sessions, and the
// console, of an organisation with several signed-in people and one pending request.
func accessPictures(t *testing.T) []picture {
	const back = "http://127.0.0.1/back"
	h := servertest.New(t, func(c *config.Config) {
		servertest.AccessRequests(c)
		servertest.Administrators(c)
		c.OIDC.Clients = []oidc.ClientConfig{
			{ClientID: "grafana", ClientSecret: conf.NewSecret(servertest.OIDCSecret), RedirectURIs: []string{back}},
			{ClientID: "kubectl", ClientSecret: conf.NewSecret(servertest.OIDCSecret)},
		}
	})
	signIn := func(person, agent string) *servertest.Client {
		v := h.NewClient()
		name, value, _ := strings.Cut(agent, ": ")
		v.Header.Set(name, value)
		v.SignIn(h.URL+"/", person)
		return v
	}
	requester := signIn("zhaoliu", agentWindows)
	signIn("lisi", agentMac)
	signIn("ouyang", agentWindows).Get(h.URL + "/admin/")
	requester.Get(h.URL + "/admin/reports")
	h.NewClient().SignIn(h.URL+"/", "sunqi")
	requestAccess := func(path, reason string) string {
		a := requester.Submit(h.URL+"/oauth2/requests", url.Values{"rd": {path}, "reason": {reason}, "for": {"1h0m0s"}})
		page := a.Header.Get("Location")
		if !strings.HasPrefix(page, "/oauth2/requests/") {
			t.Fatalf("a request = %d to %q %s", a.StatusCode, page, a.Text)
		}
		return page
	}
	request := requestAccess("/admin/reports?month=11", "月底对账，需要查看十一月的报表")
	to := requester.Get(h.URL + "/oidc/authorize?" + url.Values{"client_id": {"grafana"}, "response_type": {"code"},
		"scope": {"openid"}, "redirect_uri": {back}}.Encode())
	tokens := h.NewClient().Submit(h.URL+"/oidc/token", url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {back},
		"code": {servertest.ParseURL(t, to.Header.Get("Location")).Query().Get("code")}}, servertest.BasicAuth("grafana", servertest.OIDCSecret))
	if tokens.StatusCode != 200 {
		t.Fatalf("grafana's tokens = %d %s", tokens.StatusCode, tokens.Text)
	}
	requester.StartDevice(h, "kubectl")
	as := func(path, person string, more ...chromedp.Action[chromedp.Void]) []chromedp.Action[chromedp.Void] {
		return append([]chromedp.Action[chromedp.Void]{chromedp.Navigate(h.URL + path),
			chromedp.Click(chromedp.CSS("#person-" + person)), chromedp.WaitVisible(chromedp.CSS("#heading"))}, more...)
	}
	form := "/oauth2/requests?rd=" + url.QueryEscape("/admin/")
	return []picture{
		{name: "request", wide: phoneWide, tall: phoneTall, steps: as(form, "ouyang")},
		{name: "request-waiting", wide: phoneWide, tall: phoneTall, steps: as(request, "zhaoliu")},
		{name: "request-answer", wide: phoneWide, tall: phoneTall, steps: as(request, "lisi")},
		{name: "request-answer", wide: phoneWide, tall: phoneTall, dark: true, steps: as(request, "lisi")},
		{name: "sessions", wide: phoneWide, tall: phoneTall, steps: []chromedp.Action[chromedp.Void]{
			chromedp.Navigate(h.URL + "/"), chromedp.Click(chromedp.CSS("#person-zhaoliu")), untilMark(),
			chromedp.Navigate(h.URL + "/oauth2/sessions"), chromedp.WaitVisible(chromedp.CSS("#heading"))}},
		{name: "console", wide: 1100, tall: 760, steps: as("/oauth2/console", "zhangsan")},
		{name: "console", wide: 1100, tall: 760, dark: true, steps: as("/oauth2/console", "zhangsan")},
		{name: "console", wide: phoneWide, tall: phoneTall, steps: as("/oauth2/console", "zhangsan")},
		{name: "console-requests", wide: 1100, tall: 640, steps: as("/oauth2/console/requests", "zhangsan")},
		{name: "console-refusals", wide: 1100, tall: 760, steps: as("/oauth2/console/refusals", "zhangsan")},
	}
}
