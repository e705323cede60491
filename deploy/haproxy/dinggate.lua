-- /etc/haproxy/dinggate.lua: calls dinggate with HAProxy's own HTTP client.
-- Change the address below if dinggate is elsewhere. 如 dinggate 不在本机，请修改下面的地址。
--
-- If dinggate hangs, a request takes four times the timeout, since the client retries.

local GATE    = "http://127.0.0.1:4180/oauth2/forward-auth"
local TIMEOUT = 3000 -- milliseconds

-- What dinggate needs of the request, what the application receives,
-- and the response of a refusal for the browser.
local ASK   = { "authorization", "user-agent", "accept", "accept-language", "sec-websocket-key", "origin", "sec-fetch-mode", "sec-fetch-dest", "x-requested-with" }
local IDENT = { "x-auth-request-user", "x-auth-request-email", "x-auth-request-preferred-username", "x-auth-request-groups" }
local TELL  = { "location", "set-cookie", "content-type", "content-security-policy", "cache-control", "x-content-type-options", "referrer-policy", "www-authenticate", "retry-after", "x-request-id" }

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

-- values makes a list of a header table, which counts from 0.
local function values(header)
  local list, i = {}, 0
  while header and header[i] do
    list[#list + 1] = header[i]
    i = i + 1
  end
  return list
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

core.register_action("dinggate", { "http-req" }, function(txn)
  local headers, send = txn.http:req_get_headers(), {}
  for _, name in ipairs(ASK) do
    if headers[name] then send[name] = values(headers[name]) end
  end
  if headers["cookie"] then send["cookie"] = { table.concat(values(headers["cookie"]), "; ") } end
  if headers["host"] then send["x-forwarded-host"] = { headers["host"][0] } end
  send["x-forwarded-proto"] = { txn.sf:ssl_fc() == "1" and "https" or "http" } -- sf gives strings
  send["x-forwarded-method"] = { txn.sf:method() }
  send["x-forwarded-uri"] = { txn.sf:pathq() }
  send["x-forwarded-for"] = { txn.sf:src() }
  for name in pairs(headers) do
    if forged(name) then txn.http:req_del_header(name) end
  end

  local answer = core.httpclient():get({ url = GATE, headers = send, timeout = TIMEOUT })
  if answer and answer.status == 200 then
    -- Set every one, always, in place of the client's.
    for _, name in ipairs(IDENT) do
      txn.http:req_set_header(name, values(answer.headers[name])[1] or "")
    end
    if send["cookie"] then txn.http:req_set_header("cookie", others(send["cookie"][1])) end
    if answer.headers["set-cookie"] then txn:set_var("txn.dinggate_cookie", answer.headers["set-cookie"][0]) end
    txn:set_var("txn.dinggate", "allow")
    return
  end

  -- Without an answer the status is 0; only 200 allows, not another 2xx.
  local reply = txn:reply({ status = (answer and answer.status >= 300) and answer.status or 503 })
  for _, name in ipairs(TELL) do
    for _, value in ipairs(values(answer and answer.headers and answer.headers[name])) do
      reply:add_header(name, value)
    end
  end
  if answer and answer.body then reply:set_body(answer.body) end
  txn:done(reply)
end)
