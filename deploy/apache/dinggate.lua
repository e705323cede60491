-- /etc/apache2/dinggate.lua: asks the gate; needs lua-socket.
-- Change the address below if the gate is elsewhere. 如 dinggate 不在本机，请修改下面的地址。
--
-- A mistake in here is a 500: nobody passes.

require "apache2"
local http, ltn12 = require "socket.http", require "ltn12"
http.TIMEOUT = 3 -- seconds

local GATE = "http://127.0.0.1:4180/oauth2/forward-auth"

-- What the gate needs to know of the request, what the application learns, and
-- what a browser sees of a refusal.
local ASK   = { "Cookie", "Authorization", "User-Agent", "Accept", "Accept-Language", "Sec-WebSocket-Key", "Origin", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "X-Requested-With" }
local IDENT = { "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Preferred-Username", "X-Auth-Request-Groups" }
local TELL  = { "Location", "Set-Cookie", "Content-Security-Policy", "Cache-Control", "X-Content-Type-Options", "Referrer-Policy", "WWW-Authenticate", "Retry-After", "X-Request-Id" }

-- What a client says about itself in the words of other gateways.
local DROP  = { ["x-forwarded-user"] = true, ["x-forwarded-email"] = true, ["x-forwarded-preferred-username"] = true, ["x-forwarded-groups"] = true, ["x-forwarded-access-token"] = true }

-- forged tells whether a header claims an identity. Names with `_` or `.` do
-- too: many applications read them as `-`, and nginx drops them as well.
local function forged(name)
  name = name:lower()
  return DROP[name] or name:find("[_.]") or name:find("^x%-auth%-request%-") or name:find("^remote%-")
end

-- others leaves out our own cookies: the application gets every cookie but the session.
local function others(cookies)
  local kept = {}
  for pair in cookies:gmatch("[^;]+") do
    local name = pair:match("^%s*([^=]*)"):gsub("^__Host%-", "")
    if name ~= "dinggate" and not name:find("^dinggate%-attempt%-") then kept[#kept + 1] = pair:match("^%s*(.-)%s*$") end
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
  -- WebSockets pass, and no other protocol: behind an upgrade to h2c, say, nobody
  -- would be asked any more. mod_proxy would let through what begins like one.
  local upgrade = (r.headers_in["Upgrade"] or ""):lower()
  r.headers_in["Upgrade"] = upgrade == "websocket" and "websocket" or nil
  -- A header named in Connection would be dropped on the way: also ours.
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
  if code < 300 or code > 599 then return 503 end -- a 2xx that is not 200 is no yes
  r.status = code
  r.content_type = answer["content-type"] or "text/plain"
  r:write(table.concat(body))
  return apache2.DONE
end
