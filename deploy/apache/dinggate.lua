-- /etc/apache2/dinggate.lua: calls dinggate; needs lua-socket.
-- Change the address below if dinggate is elsewhere. 如 dinggate 不在本机，请修改下面的地址。
--
-- An error in here is a 500: the request does not pass.

require "apache2"
local http, ltn12 = require "socket.http", require "ltn12"
http.TIMEOUT = 3 -- seconds

local GATE = "http://127.0.0.1:4180/oauth2/forward-auth"

-- What dinggate needs of the request, what the application receives,
-- and the response of a refusal for the browser.
local ASK   = { "Cookie", "Authorization", "User-Agent", "Accept", "Accept-Language", "Sec-WebSocket-Key", "Origin", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "X-Requested-With" }
local IDENT = { "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups" }
local TELL  = { "Location", "Set-Cookie", "Content-Security-Policy", "Cache-Control", "X-Content-Type-Options", "Referrer-Policy", "WWW-Authenticate", "Retry-After", "X-Request-Id" }

-- forged reports a header that claims another path, method, address, certificate
-- or person. Names are compared without their dashes, as some application or
-- other reads them so; one with `_` or `.` is always another name (nginx drops it too).
local NAMES, PREFIXES = {}, {}
for name in ([[
  X-Rewrite-URL X-HTTP-Method-Override X-Method-Override X-HTTP-Method Forwarded True-Client-IP X-Client-IP
  Client-IP CF-Connecting-IP Proxy X-Dinggate-Assertion X-Middleware-Subrequest X-Override-URL X-Script-Name
  X-Host X-Envoy-Original-Path X-Waws-Unencoded-URL X-Request-URI Request-URI X-HTTP-Path-Override
  X-Tunnel-Method X-Verb Script-Name X-Proxy-URL Base-URL Forwarded-For X-Real-IP CF-Connecting-IPv6
  Fastly-Client-IP Fly-Client-IP X-Cluster-Client-IP Proxy-Client-IP X-Azure-ClientIP Ali-CDN-Real-IP
  CDN-Src-IP X-Originating-IP X-ProxyUser-IP X-Envoy-External-Address X-Scheme X-Url-Scheme Front-End-Https
  X-SSL X-Client-DN X-Client-Verify X-ARR-ClientCert X-ARR-SSL X-WebAuth-User
]]):gmatch("%S+") do NAMES[(name:lower():gsub("%-", ""))] = true end
for name in ([[
  X-Forwarded X-Original- X-Auth-Request- Remote- X-Remote- X-SSL- SSL-Client- X-Client-Cert Client-Cert
  WL-Proxy- X-MS-Client-Principal X-Goog-IAP- X-Goog-Authenticated-User- X-AppEngine-User
]]):gmatch("%S+") do PREFIXES[#PREFIXES + 1] = (name:lower():gsub("%-", "")) end

local function forged(name)
  if name:find("[^%w%-]") then return true end
  local folded = name:lower():gsub("%-", "")
  for _, prefix in ipairs(PREFIXES) do
    if folded:sub(1, #prefix) == prefix then return true end
  end
  return NAMES[folded]
end

-- others removes dinggate's cookies: the application gets its own.
local OURS = { ["dinggate"] = true, ["dinggate-link"] = true, ["dinggate-lang"] = true, ["dinggate-hand-over"] = true }

local function others(cookies)
  local kept = {}
  for pair in cookies:gmatch("[^;]+") do
    local name = pair:match("^%s*([^=]*)"):gsub("^__Host%-", "")
    if not OURS[name] and not name:find("^dinggate%-attempt%-%d$") then kept[#kept + 1] = pair:match("^%s*(.-)%s*$") end
  end
  return table.concat(kept, "; ")
end

function check(r)
  if r.uri:find("^/oauth2/") then return apache2.DECLINED end
  local send, body = {}, {}
  for _, name in ipairs(ASK) do send[name] = r.headers_in[name] end
  send["X-Forwarded-Proto"] = r.is_https and "https" or "http"
  send["X-Forwarded-Host"] = r.headers_in["Host"]
  send["X-Forwarded-Method"] = r.method
  send["X-Forwarded-Uri"] = r.unparsed_uri
  send["X-Forwarded-For"] = r.useragent_ip
  for name in pairs(r:headers_in_table()) do
    if forged(name) then r.headers_in[name] = nil end
  end
  -- Only WebSockets pass: after an upgrade to h2c, for example, no request
  -- would be checked. mod_proxy would accept protocols that begin like it.
  local upgrade = (r.headers_in["Upgrade"] or ""):lower()
  r.headers_in["Upgrade"] = upgrade == "websocket" and "websocket" or nil
  -- A header named in Connection would be dropped on the way, even ours.
  local connection = (r.headers_in["Connection"] or ""):lower()
  r.headers_in["Connection"] = connection:find("upgrade") and "Upgrade" or connection:find("close") and "close" or nil

  local ok, code, answer = http.request{ url = GATE, headers = send, redirect = false, sink = ltn12.sink.table(body) }
  if not ok then return 503 end
  if code == 200 then
    for _, name in ipairs(IDENT) do r.headers_in[name] = answer[name:lower()] or "" end
    if r.headers_in["Cookie"] then r.headers_in["Cookie"] = others(r.headers_in["Cookie"]) end
    return apache2.OK
  end

  for _, name in ipairs(TELL) do
    if answer[name:lower()] then r.err_headers_out[name] = answer[name:lower()] end
  end
  if code < 300 or code > 599 then return 503 end -- only 200 allows, not another 2xx
  r.status = code
  r.content_type = answer["content-type"] or "text/plain"
  r:write(table.concat(body))
  return apache2.DONE
end
