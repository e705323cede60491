package config

import "dinggate/internal/i18n"

// Meanings says what every key does; config.example.yaml says the same at
// length. A test compares the names with Keys.
var Meanings = map[string]i18n.Message{
	"public_url":        {"how browsers reach us: scheme and host; required", "浏览器访问我们的地址：协议加主机名；必填"},
	"listen":            {"where the gate listens: host:port, port 0 takes a free one, or unix:/path", "监听地址：host:port（端口 0 表示任选空闲端口）或 unix:/path"},
	"prefix":            {"path of our own endpoints", "自有端点的路径前缀"},
	"hosts":             {"known: requests for hosts that nobody configured are 421; any: they are served", "known：未配置的域名一律返回 421；any：照常服务"},
	"trusted_proxies":   {"networks of the proxies whose X-Forwarded-* are believed, or unix; nobody by default", "信任其 X-Forwarded-* 的代理网段，或 unix；默认不信任任何人"},
	"state_dir":         {"directory where the embedded store keeps what must outlive a restart; empty: in memory", "嵌入式存储目录，保存重启后仍需保留的内容；留空则只在内存中"},
	"allowed_redirects": {"further origins a person may be sent back to", "登录后允许跳回的其他来源"},

	"dingtalk.client_id":          {"Client ID (AppKey) of the app; required", "应用的 Client ID（AppKey）；必填"},
	"dingtalk.client_secret":      {"Client Secret (AppSecret) of the app; this or the file is required", "应用的 Client Secret（AppSecret）；本项与 _file 二选一，必填"},
	"dingtalk.client_secret_file": {"file with the Client Secret", "存放 Client Secret 的文件"},
	"dingtalk.corp_id":            {"the organisation whose members may sign in; required", "允许登录的企业 CorpId；必填"},
	"dingtalk.username":           {"what applications call a person: userid, job_number, email, email_localpart, name, unionid", "应用所见的用户名：userid、job_number、email、email_localpart、name 或 unionid"},
	"dingtalk.events":             {"follow the organisation's events: a leaver is out within seconds", "订阅企业事件：离职者数秒内失去访问权限"},
	"dingtalk.login_url":          {"DingTalk's sign-in page", "钉钉登录页地址"},
	"dingtalk.api_url":            {"DingTalk's new API", "钉钉新版接口地址"},
	"dingtalk.oapi_url":           {"DingTalk's old API", "钉钉旧版接口地址"},

	"sso.url":                {"an in-house SSO service that people sign in at, instead of dingtalk", "企业内部 SSO 服务的地址，代替 dingtalk"},
	"sso.client_id":          {"who we are there", "在该服务登记的 client_id"},
	"sso.client_secret":      {"our secret there; this or the file is required", "在该服务登记的密钥；本项与 _file 二选一，必填"},
	"sso.client_secret_file": {"file with that secret", "存放该密钥的文件"},

	"cookie.secrets":      {"secrets of 32 random bytes (dinggate keygen); the first seals, all open; this or the file is required", "32 字节随机密钥（dinggate keygen 生成）；首个用于加密，全部可解密；本项与 _file 二选一，必填"},
	"cookie.secrets_file": {"file with the secrets, one a line", "存放密钥的文件，每行一个"},
	"cookie.domain":       {"share one session across the subdomains of this domain", "在该域名的各子域之间共享会话"},
	"cookie.same_site":    {"lax, strict or none", "lax、strict 或 none"},

	"session.lifetime": {"a sign-in lasts this long, whatever happens", "一次登录的最长有效期"},
	"session.idle":     {"without a request for this long a session ends; 0s: no such limit", "无请求多久后会话结束；0s 表示不限制"},
	"session.recheck":  {"how often membership and directory data are looked up again", "多久重新核对一次成员身份和通讯录信息"},
	"session.grace":    {"how long sessions outlive an unreachable DingTalk", "钉钉不可用时会话还能维持多久"},
	"session.store":    {"where sessions are kept: cookie, or redis for several replicas", "会话存放位置：cookie；多副本用 redis"},

	"redis.url":                    {"with store redis: redis://, rediss://, unix://, redis-sentinel://…/master or redis-cluster://", "store 为 redis 时的地址：redis://、rediss://、unix://、redis-sentinel://…/主节点名 或 redis-cluster://"},
	"redis.url_file":               {"file with the URL", "存放该地址的文件"},
	"redis.username":               {"ACL user, where it is not in the URL", "ACL 用户名（未写在地址中时）"},
	"redis.password":               {"password, where it is not in the URL", "密码（未写在地址中时）"},
	"redis.password_file":          {"file with the password", "存放密码的文件"},
	"redis.sentinel_username":      {"user for the sentinels themselves", "连接哨兵本身的用户名"},
	"redis.sentinel_password":      {"password for the sentinels themselves", "连接哨兵本身的密码"},
	"redis.sentinel_password_file": {"file with it", "存放该密码的文件"},
	"redis.prefix":                 {"of every key; the same in all replicas", "所有键的前缀；各副本须一致"},
	"redis.ca_file":                {"authorities of the server's certificate (PEM)", "服务器证书的 CA（PEM）"},
	"redis.cert_file":              {"our certificate, where the server asks for one (PEM)", "服务器要求时出示的客户端证书（PEM）"},
	"redis.key_file":               {"its private key (PEM)", "客户端证书私钥（PEM）"},

	"upstream": {"the application: http://, https:// or unix:/path; short for one route / open to every member", "后端应用：http://、https:// 或 unix:/path；相当于一条对全体成员开放的 / 路由"},
	"routes":   {"instead of upstream: who may enter which path, and where it leads (config.example.yaml)", "代替 upstream：规定谁可访问哪些路径及其后端（见 config.example.yaml）"},

	"path_case": {"insensitive: a path in another letter case leads to no other rule (400); sensitive: all applications count letter case", "insensitive：换一种大小写的路径不会命中其他规则（返回 400）；sensitive：所有应用都区分路径大小写"},

	"headers.request":  {"headers that applications get: name=field, separated by commas", "传给应用的请求头：名称=字段，以逗号分隔"},
	"headers.response": {"headers that gateways get", "回给网关的响应头"},

	"sso_server.clients":        {"third parties that may let people sign in here (config.example.yaml)", "可使用本服务登录的第三方平台（见 config.example.yaml）"},
	"sso_server.plain_callback": {"leave forward_url out of the address that DingTalk sends people back to", "回调地址不带 forward_url 参数（钉钉逐字比对登记的地址时使用）"},

	"oidc.clients":       {"applications that sign people in here by OpenID Connect (config.example.yaml)", "通过 OpenID Connect 在这里登录的应用（见 config.example.yaml）"},
	"oidc.key_files":     {"PEM files with RSA or EC P-256 keys; the first of a kind signs, all are published; none: made and kept in state_dir or Redis", "RSA 或 EC P-256 私钥文件（PEM）；每种的首个用于签名，全部公布；留空则自动生成并保存在 state_dir 或 Redis"},
	"oidc.code":          {"how long an authorization code may be redeemed", "授权码的有效期"},
	"oidc.id_token":      {"lifetime of an ID token", "ID Token 的有效期"},
	"oidc.access_token":  {"lifetime of an access token", "访问令牌的有效期"},
	"oidc.refresh_token": {"lifetime of all refresh tokens that follow from one sign-in", "一次登录得到的刷新令牌（含轮换后的）总有效期"},

	"api_tokens": {"access tokens of the SSO service (Authorization: Bearer) and local passwords (Basic) stand in for a cookie", "API 客户端可用 SSO 访问令牌（Authorization: Bearer）或本地账号密码（Basic）代替 Cookie"},

	"api_token_clients": {"clients whose access tokens open routes; empty: our own behind sso, none as sso_server", "哪些客户端的访问令牌可访问路由；留空时，接入 sso 为自身的 client_id，作为 sso_server 则一个也没有"},

	"sign_in.page":          {"show a page with a button before going to DingTalk", "跳转钉钉前先显示带按钮的登录页"},
	"sign_in.title":         {"name on our pages", "页面上显示的名称"},
	"sign_in.title.zh":      {"name on our pages, in Chinese", "页面上显示的名称（中文）"},
	"sign_in.title.en":      {"name on our pages, in English", "页面上显示的名称（英文）"},
	"sign_in.logo_file":     {"picture on our pages", "页面上显示的图标文件"},
	"sign_in.embed_qr":      {"draw DingTalk's QR code into the sign-in page, by DingTalk's own script", "在登录页内嵌钉钉二维码（使用钉钉官方脚本）"},
	"sign_in.lead":          {"text under the title of the sign-in page", "登录页标题下方的文字"},
	"sign_in.lead.zh":       {"text under the title of the sign-in page, in Chinese", "登录页标题下方的文字（中文）"},
	"sign_in.lead.en":       {"text under the title of the sign-in page, in English", "登录页标题下方的文字（英文）"},
	"sign_in.note":          {"text at the foot of the sign-in page", "登录页底部的文字"},
	"sign_in.note.zh":       {"text at the foot of the sign-in page, in Chinese", "登录页底部的文字（中文）"},
	"sign_in.note.en":       {"text at the foot of the sign-in page, in English", "登录页底部的文字（英文）"},
	"sign_in.accent_color":  {"colour of the buttons, such as #0f62de", "按钮颜色，如 #0f62de"},
	"sign_in.templates_dir": {"folder with own pages in place of ours", "存放自定义页面模板的目录"},
	"sign_in.contact":       {"whom people may ask: text, an e-mail address or a URL", "求助联系方式：文字、邮箱或网址"},
	"sign_in.contact.zh":    {"whom people may ask, in Chinese", "求助联系方式（中文）"},
	"sign_in.contact.en":    {"whom people may ask, in English", "求助联系方式（英文）"},

	"assertion.enabled":   {"send a signed proof of who the person is in X-Dinggate-Assertion", "在 X-Dinggate-Assertion 中发送经签名的身份证明"},
	"assertion.key_files": {"PEM files with ECDSA P-256 or Ed25519 keys; the first signs, all are published; none: keys made from cookie.secrets", "ECDSA P-256 或 Ed25519 私钥文件（PEM）；首个用于签名，全部公布；留空则由 cookie.secrets 派生"},
	"assertion.lifetime":  {"how long a proof is valid", "身份证明的有效期"},
	"assertion.issuer":    {"the issuer in it; empty: public_url", "签发者；留空为 public_url"},

	"accounts.htpasswd_file": {"local accounts: name:hash lines with bcrypt (htpasswd -B); read again when it changes", "本地账号文件：每行 用户名:bcrypt哈希（htpasswd -B 生成）；修改后自动重新读取"},
	"accounts.binding":       {"are people who sign in with DingTalk bound to accounts: off, optional or required", "钉钉用户与账号的绑定：off 不绑定、optional 可选、required 必须"},
	"login_api":              {"serve /dingtalk/login/callback for pages that draw their own QR code", "为自绘二维码的页面提供 /dingtalk/login/callback"},
	"login_api_base":         {"with login_api, the path below which it answers too; empty: at the root alone", "开启 login_api 后，该接口同时在此路径下提供；留空则仅在根路径提供"},
	"login_api_status":       {"its HTTP status for refusals: real (200, as clients of the document need) or strict (500)", "该接口拒绝时的 HTTP 状态码：real 为 200（按文档生成的客户端需要），strict 为 500"},

	"server.max_connections": {"connections to the gate at a time, more wait; 0: half of the files that the process may open", "网关同时接受的连接数，超出者排队；0 表示进程可打开文件数的一半"},
	"proxy_protocol":         {"networks whose connections begin with the PROXY protocol, or unix", "以 PROXY 协议开头的连接来自哪些网段，或 unix"},
	"tls.client_ca_file":     {"clients need a certificate of these authorities (PEM)", "客户端必须出示由这些 CA 签发的证书（PEM）"},
	"tls.hsts":               {"browsers insist on https for so long (Strict-Transport-Security); 0s: not said", "让浏览器在此时长内只用 https（Strict-Transport-Security）；0s 表示不发送"},
	"server.drain_delay":     {"asked to stop, how long new connections are still taken while /ready says 503; 0s: not at all", "收到停止信号后，/ready 返回 503 期间继续接受新连接的时长；0s 表示立即停止接受"},
	"server.drain_timeout":   {"how long requests under way may take then", "此后正在处理的请求最多还能用多久"},

	"admin.listen":      {"/livez, /ready, /metrics and /status: host:port or unix:/path, never public", "/livez、/ready、/metrics、/status 的监听地址：host:port 或 unix:/path，切勿公开"},
	"envoy_grpc.listen": {"Envoy's ext_authz over gRPC: host:port or unix:/path; empty: off", "Envoy gRPC 鉴权的监听地址：host:port 或 unix:/path；留空为关闭"},
	"tls.cert_file":     {"certificate and chain (PEM), to speak https ourselves", "证书及证书链（PEM），用于自行提供 https"},
	"tls.key_file":      {"its private key (PEM)", "证书私钥（PEM）"},
	"log.format":        {"json or console", "json 或 console"},
	"log.level":         {"debug, info, warn or error", "debug、info、warn 或 error"},
	"tracing.endpoint":  {"where OpenTelemetry spans go, OTLP over HTTP; empty: off", "OpenTelemetry 追踪数据的 OTLP/HTTP 地址；留空为关闭"},
	"tracing.sample":    {"share of the requests that is traced, from 0 to 1", "被追踪请求的比例，0 到 1"},
	"audit.file":        {"file for the audit records, JSON lines; the log without it", "审计记录文件（每行一个 JSON）；留空则写入日志"},
	"audit.on_error":    {"allow or deny: may somebody sign in whose record cannot be written", "allow 或 deny：记录无法写入时是否允许登录"},
}
