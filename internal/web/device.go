package web

import "strings"

// Device names the browser and the operating system that a User-Agent claims, such as
// "Chrome · Windows"; "" when neither is recognised. The result is built from a fixed
// list of names, so that no text of a client reaches a list of devices (threats G3).
func Device(userAgent string) string {
	if len(userAgent) > maxAgent {
		userAgent = userAgent[:maxAgent]
	}
	browser, system := firstOf(browsers, userAgent), firstOf(systems, userAgent)
	switch {
	case browser == "":
		return system
	case system == "":
		return browser
	}
	return browser + " · " + system
}

// maxAgent bounds the work.
const maxAgent = 1 << 10

func firstOf(names [][2]string, userAgent string) string {
	for _, n := range names {
		if strings.Contains(userAgent, n[0]) {
			return n[1]
		}
	}
	return ""
}

// In this order, since most of them also claim to be those further down.
var (
	browsers = [][2]string{
		{"DingTalk", "DingTalk"}, {"MicroMessenger", "WeChat"}, {"wxwork/", "WeCom"}, {"Lark/", "Feishu"},
		{"HeadlessChrome/", "Chrome"}, {"Edg/", "Edge"}, {"EdgA/", "Edge"}, {"EdgiOS/", "Edge"},
		{"OPR/", "Opera"}, {"SamsungBrowser/", "Samsung Internet"}, {"UCBrowser/", "UC"}, {"QQBrowser/", "QQ"},
		{"HuaweiBrowser/", "Huawei Browser"}, {"MiuiBrowser/", "Mi Browser"}, {"QuarkPC/", "Quark"}, {"Quark/", "Quark"},
		{"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"},
		{"Safari/", "Safari"}, {"Trident/", "Internet Explorer"}, {"curl/", "curl"}, {"Wget/", "Wget"},
		{"python-requests/", "Python"}, {"Go-http-client/", "Go"}, {"okhttp/", "OkHttp"}, {"PostmanRuntime/", "Postman"},
		{"Java/", "Java"},
	}
	systems = [][2]string{
		{"HarmonyOS", "HarmonyOS"}, {"OpenHarmony", "HarmonyOS"}, {"iPhone", "iPhone"}, {"iPad", "iPad"},
		{"Android", "Android"}, {"Windows", "Windows"}, {"Macintosh", "macOS"}, {"Mac OS X", "macOS"},
		{"CrOS", "ChromeOS"}, {"Linux", "Linux"},
	}
)
