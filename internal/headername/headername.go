// Package headername lists the request headers that a client may not set.
//
//	Names, Prefixes ─┬─► web.Protected: the proxy removes them by folded name
//	                 ├─► gen: a gateway's configuration removes them by spelling
//	                 └─► the tests of both send every one
//
// A name is listed because some server, framework or widely used application trusts it: for the
// request's path (X-Original-URL), its method (X-HTTP-Method-Override), its client address
// (True-Client-IP), its certificate (X-SSL-Client-Verify) or its user (Remote-User). Our rules
// would authorize another request than the one such an application serves (threats H14, H16).
package headername

// Prefixes are the beginnings of whole families of names: X-SSL- includes X-SSL-Client-DN.
// Gateways that match by prefix use them in addition to Names; the others use the known members.
var Prefixes = []string{
	"X-Forwarded", "X-Original-", "X-Auth-Request-", "Remote-", "X-Remote-", "X-SSL-", "SSL-Client-",
	"X-Client-Cert", "Client-Cert", "WL-Proxy-", "X-MS-Client-Principal", "X-Goog-IAP-", "X-Goog-Authenticated-User-",
	"X-AppEngine-User",
}

// Names are complete names in their usual spelling, in groups. Within the first groups the most
// dangerous come first, for a gateway that can remove only a few.
var Names = []string{
	// Another path, method or host than the authorized one.
	"X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method",
	"X-Forwarded-Prefix", "X-Forwarded-Uri", "X-Forwarded-Port", "Forwarded", "True-Client-IP", "X-Client-IP",
	"Client-IP", "CF-Connecting-IP", "Proxy", "X-Dinggate-Assertion", "X-Middleware-Subrequest",
	"X-Original-URI", "X-Original-Path", "X-Original-Method", "X-Original-Host", "X-Override-URL", "X-Script-Name",
	"X-Forwarded-Path", "X-Forwarded-Method", "X-Forwarded-Host", "X-Forwarded-Server", "X-Host",
	"X-Envoy-Original-Path",
	"X-Waws-Unencoded-URL", "X-Request-URI", "Request-URI", "X-HTTP-Path-Override", "X-Tunnel-Method", "X-Verb",
	"Script-Name", "X-Proxy-URL", "Base-URL",

	// Another address or scheme.
	"X-Forwarded-For", "X-Forwarded", "X-Forwarded-By", "X-Original-Forwarded-For", "Forwarded-For", "X-Real-IP",
	"CF-Connecting-IPv6",
	"Fastly-Client-IP", "Fly-Client-IP", "X-Cluster-Client-IP", "Proxy-Client-IP", "WL-Proxy-Client-IP",
	"X-Azure-ClientIP",
	"Ali-CDN-Real-IP", "CDN-Src-IP", "X-Originating-IP", "X-Remote-IP", "X-Remote-Addr", "X-ProxyUser-IP",
	"X-Envoy-External-Address",
	"X-Forwarded-Proto", "X-Forwarded-Protocol", "X-Forwarded-Scheme", "X-Forwarded-Ssl", "X-Scheme", "X-Url-Scheme",
	"Front-End-Https",

	// A client certificate that was not verified.
	"X-SSL-Client-Cert", "X-SSL-Client-Verify", "X-SSL-Client-DN", "X-SSL-Client-S-DN", "X-SSL-Client-I-DN",
	"X-SSL-Client-CN",
	"X-SSL-Client-Serial", "X-SSL-Client-Fingerprint", "X-SSL-Client-SHA1", "X-SSL-Client-NotAfter", "X-SSL-Cert",
	"X-SSL-Subject",
	"X-SSL-Issuer", "X-SSL-Cipher", "X-SSL-Protocol", "X-SSL-Session-ID", "X-SSL",
	"SSL-Client-Cert", "SSL-Client-Verify", "SSL-Client-S-DN", "SSL-Client-I-DN", "SSL-Client-Subject-DN",
	"SSL-Client-Issuer-DN",
	"X-Client-Cert", "X-Client-Cert-Chain", "X-Client-DN", "X-Client-Verify", "Client-Cert", "Client-Cert-Chain",
	"X-Forwarded-Client-Cert", "X-Forwarded-Tls-Client-Cert", "X-Forwarded-Tls-Client-Cert-Info", "X-ARR-ClientCert",
	"X-ARR-SSL",
	"WL-Proxy-Client-Cert", "WL-Proxy-SSL",

	// Another person.
	"X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups",
	"X-Auth-Request-Access-Token",
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Preferred-Username", "X-Forwarded-Groups",
	"X-Forwarded-Access-Token",
	"Remote-User", "Remote-Email", "Remote-Name", "Remote-Groups", "X-Remote-User", "X-Remote-Group", "X-WebAuth-User",
	"X-MS-Client-Principal", "X-MS-Client-Principal-Name", "X-MS-Client-Principal-ID", "X-MS-Client-Principal-IDP",
	"X-Goog-IAP-JWT-Assertion", "X-Goog-Authenticated-User-Email", "X-Goog-Authenticated-User-ID",
	"X-AppEngine-User-Email", "X-AppEngine-User-ID", "X-AppEngine-User-Nickname", "X-AppEngine-User-Organization",
	"X-AppEngine-User-Is-Admin", "X-AppEngine-User",
}

// Odd are the characters of a name besides letters, digits and dashes (RFC 9110 §5.6.2). A
// gateway that removes names by their spelling removes every name with one of them: some
// application treats it as another name (threats H17).
const Odd = "_.!#$%&'*+^`|~"

// Fold reduces a name to letters and digits in lower case: some applications read X_Forwarded-User
// and x.forwarded.user as X-Forwarded-User (CVE-2025-64484, CVE-2026-39858).
func Fold(name string) string { return string(AppendFold(nil, name)) }

// AppendFold appends Fold(name) to dst.
func AppendFold(dst []byte, name string) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		switch {
		case 'A' <= c && c <= 'Z':
			dst = append(dst, c+'a'-'A')
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			dst = append(dst, c)
		}
	}
	return dst
}
