package config

import (
	"time"

	"dinggate/dingtalk"
	"dinggate/internal/identity"
	"dinggate/oidc"
	"dinggate/proxy/accessrequest"
)

// constraint describes the valid values of a key, for the schema, the reference and
// the completion of values. TestConstraints compares it with Check.
type constraint struct {
	values   []string      // the allowed words; nil: any text
	min, max time.Duration // of a duration; max 0: no maximum
	positive bool          // 0s is a mistake
	low      int           // minimum of a number
	high     int
	pattern  string // valid in both RE2 and ECMA 262
	not      string // a pattern that the value must not match
	length   int    // in characters; 0: any
	required bool   // in an entry of a list
	nonEmpty bool   // of a list
}

// Patterns of values that are not words.
const (
	durationPattern = `^\+?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+$`
	listenPattern   = `^(unix:/.{0,106}|(\[[^\[\]]*\]|[^\[\]:]*):[0-9]+)$`
	pathPattern     = `^(/[A-Za-z0-9_.~-]+)+$`
	dotSegments     = `/\.\.?(/|$)`
	networkPattern  = `^(unix|[0-9a-fA-F.:]+/[0-9]{1,3})$`
	originPattern   = `^[Hh][Tt][Tt][Pp][Ss]?://[^/?#@\s]+/?$`
	colourPattern   = `^(#[0-9a-fA-F]{6})?$`
	ratePattern     = `^\s*[0-9]+/[sm](\s+burst\s+[0-9]+)?\s*$`
	sharePattern    = `^[+0-9._eExXpPa-fA-F-]+$`
	upstreamPattern = `^$|^(([Hh][Tt][Tt][Pp][Ss]?|[Hh]2[Cc])://[^?#]+|[Uu][Nn][Ii][Xx]:/.*[^/])$`
	apiPattern      = `^$|^[Hh][Tt][Tt][Pp][Ss]?://[^?#]+$`
	clientIDPattern = `^[!-9;-~]{1,128}$`
	headerPattern   = "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$"
)

var openListen = constraint{pattern: `^$|` + listenPattern}

// constraints is indexed by key; routes[].path is a key of every entry of routes.
var constraints = withRules(map[string]constraint{
	"config_version":      {low: 1, high: FormVersion},
	"public_url":          {pattern: `^$|` + originPattern},
	"listen":              {pattern: listenPattern},
	"prefix":              {pattern: pathPattern, not: dotSegments},
	"hosts":               {values: []string{hostsKnown, hostsAny}},
	"trusted_proxies[]":   {pattern: networkPattern},
	"proxy_protocol[]":    {pattern: networkPattern},
	"allowed_redirects[]": {pattern: originPattern},
	"state_dir":           {not: `[\x00\n]`},

	"dingtalk.username": {values: append([]string{""}, dingtalk.Usernames...)},

	"dingtalk.rate":       {low: 2, high: 1000},
	"dingtalk.directory":  {values: []string{dingtalk.DirectoryAuto, dingtalk.DirectoryMirror, dingtalk.DirectoryLookup}},
	"session.store_grace": {max: 5 * time.Minute},
	"redis.timeout":       {min: 50 * time.Millisecond, max: time.Minute},
	"admin.ready":         {values: []string{ReadyStrict, ReadyDegraded}},
	"limits.starts":       {pattern: ratePattern},
	"limits.exchanges":    {pattern: ratePattern},
	"limits.passwords":    {pattern: ratePattern},

	"dingtalk.login_url": {pattern: apiPattern},
	"dingtalk.api_url":   {pattern: apiPattern},
	"dingtalk.oapi_url":  {pattern: apiPattern},
	"sso.url":            {pattern: apiPattern},
	"upstream":           {pattern: upstreamPattern},

	"cookie.same_site":   {values: []string{"lax", "strict", "none"}},
	"cookie.secrets[]":   {pattern: `^\s*[A-Za-z0-9+/_-]{43}=?\s*$`},
	"session.lifetime":   {positive: true},
	"session.recheck":    {positive: true},
	"session.store":      {values: []string{"cookie", "redis"}},
	"redis.url":          {pattern: `^$|^(rediss?(-sentinel|-cluster)?|unix)://`},
	"redis.prefix":       {not: `[{} \t\r\n]`, length: 64},
	"path_case":          {values: []string{PathCaseInsensitive, PathCaseSensitive}},
	"login_api_base":     {pattern: `^$|` + pathPattern, not: dotSegments},
	"login_api_status":   {values: []string{loginAPIReal, LoginAPIStrict}},
	"accounts.binding":   {values: []string{"off", "optional", "required"}},
	"assertion.lifetime": {min: 30 * time.Second, max: time.Hour},
	"assertion.issuer":   {length: 200},

	"sign_in.title":        {length: 200},
	"sign_in.lead":         {length: 200},
	"sign_in.note":         {length: 200},
	"sign_in.contact":      {length: 200},
	"sign_in.accent_color": {pattern: colourPattern},

	"server.max_connections": {low: 0, high: 1 << 20},
	"server.drain_delay":     {max: 5 * time.Minute},
	"server.drain_timeout":   {min: time.Second, max: time.Hour},
	"admin.listen":           {pattern: listenPattern},
	"admin.control":          {not: `[\x00\n]`},
	"envoy_grpc.listen":      openListen,
	"tls.hsts":               {max: 20000 * time.Hour},
	"log.format":             {values: []string{"json", "console"}},
	"log.level":              {values: []string{"debug", "info", "warn", "error"}},
	"audit.on_error":         {values: []string{AuditAllow, AuditDeny}},
	"audit.file":             {not: `[\x00\n]`},
	"tracing.sample":         {pattern: sharePattern},
	"headers.request":        {values: identity.Fields},
	"headers.response":       {values: identity.Fields},

	"oidc.code":          {min: time.Second, max: 10 * time.Minute},
	"oidc.id_token":      {min: time.Minute, max: 24 * time.Hour},
	"oidc.access_token":  {min: time.Minute, max: 24 * time.Hour},
	"oidc.refresh_token": {min: time.Minute, max: 400 * 24 * time.Hour},

	"oidc.clients[].client_id":   {required: true, pattern: clientIDPattern},
	"oidc.clients[].access":      {values: []string{"signed_in"}},
	"oidc.clients[].groups[]":    {values: []string{oidc.GroupRoles, oidc.GroupDepartments, oidc.GroupDepartmentPaths}},
	"oidc.clients[].signing_alg": {values: []string{"", "RS256", "ES256"}},
	"oidc.clients[].pkce":        {values: []string{"", oidc.PKCEAuto, oidc.PKCERequired}},

	"routes[].path":            {required: true, pattern: `^/`, not: `[{}*%\\;?#\x00-\x1f\x7f]|//|/\.\.?(/|$)`},
	"routes[].host":            {pattern: `^(\*\.)?[A-Za-z0-9_.:\[\]-]*$`},
	"routes[].methods[]":       {pattern: "^[A-Z!#$%&'*+.^_`|~0-9-]+$", not: `^(TRACE|TRACK|CONNECT)$`},
	"routes[].timeout":         {positive: true},
	"routes[].pass_host":       {pattern: `^$|^[A-Za-z0-9_.:\[\]-]+$`},
	"routes[].tls.server_name": {pattern: `^[A-Za-z0-9_.-]*$`},
	"routes[].connection_auth": {values: []string{"", "refuse"}},

	"access_requests.agent_id":           {low: 0, high: accessrequest.MaxAgentID},
	"access_requests.open":               {low: 1, high: accessrequest.PerDay},
	"routes[].request.approvers.users[]": {pattern: `^[^, \t\n]{1,64}$`},
	"routes[].request.longest":           {max: accessrequest.MaxLongest},
	"routes[].request.reason":            {values: []string{"", accessrequest.ReasonRequired, accessrequest.ReasonOptional}},

	"routes[].upstream":             {pattern: upstreamPattern},
	"routes[].access.emails[]":      {pattern: `^(\*|[^@*]+)@[^@*]+$`},
	"routes[].access.departments[]": {pattern: `^[1-9][0-9]*$`},
	"routes[].access.users[]":       {pattern: `^\S(.*\S)?$`},
	"routes[].access.roles[]":       {pattern: `^\S(.*\S)?$`},
	"routes[].access.networks[]":    {pattern: `^[0-9a-fA-F.:]+/[0-9]{1,3}$`},

	"sso_server.clients[].client_id":       {required: true, pattern: clientIDPattern},
	"sso_server.clients[].redirect_urls":   {required: true, nonEmpty: true},
	"sso_server.clients[].redirect_urls[]": {pattern: `^[Hh][Tt][Tt][Pp][Ss]?://[^#\s]+$`},
}, map[string]constraint{})
