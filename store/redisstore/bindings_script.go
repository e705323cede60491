package redisstore

import "github.com/redis/go-redis/v9"

// The scripts parse their arguments as texts, each preceded by 6 digits of length, since a sealed
// binding is binary. An argument is one binding:
//
//	unionid  username  person's place  its value now  its new value
//
//	account's place  its value now  its new value  places of looks, concatenated
//
// "" is no value. They return -2 if a value has changed. The hashes of releases without sealing
// are among the keys only if they contain anything: a cluster whose slots move refuses missing
// keys.
const scriptStart = `
local function texts(arg)
	local list, at = {}, 1
	while at <= #arg do
		local n = tonumber(string.sub(arg, at, at + 5))
		list[#list+1] = string.sub(arg, at + 6, at + 5 + n)
		at = at + 6 + n
	end
	return list
end
local function same(t)
	return (redis.call('HGET', KEYS[1], t[3]) or '') == t[4] and (redis.call('HGET', KEYS[2], t[6]) or '') == t[7]
end
local function looks(t, present)
	for at = 1, #t[9], #t[6] do
		local look = string.sub(t[9], at, at + #t[6] - 1)
		local names = redis.call('HGET', KEYS[3], look) or ''
		local found = string.find(names, t[6], 1, true)
		if present and not found then redis.call('HSET', KEYS[3], look, names .. t[6]) end
		if not present and found then
			names = string.sub(names, 1, found - 1) .. string.sub(names, found + #t[6])
			if names == '' then redis.call('HDEL', KEYS[3], look) else redis.call('HSET', KEYS[3], look, names) end
		end
	end
end
`

// bindScript returns 0 if all are written, -1 if a bound is reached.
var bindScript = redis.NewScript(scriptStart + `
local all, new = {}, 0
for i = 2, #ARGV do
	local t = texts(ARGV[i])
	if not same(t) then return -2 end
	if t[4] == '' then new = new + 1 end
	all[#all+1] = t
end
if redis.call('HLEN', KEYS[1]) + new > tonumber(ARGV[1]) then return -1 end
for _, t in ipairs(all) do
	redis.call('HSET', KEYS[1], t[3], t[5])
	redis.call('HSET', KEYS[2], t[6], t[8])
	looks(t, true)
	if KEYS[4] then
		local name, person = redis.call('HGET', KEYS[4], t[1]), redis.call('HGET', KEYS[5], t[2])
		redis.call('HDEL', KEYS[4], t[1])
		redis.call('HDEL', KEYS[5], t[2])
		if name then redis.call('HDEL', KEYS[5], name) end
		if person then redis.call('HDEL', KEYS[4], person) end
	end
end
return 0`)

// rebindScript has two arguments: the binding as it is, and the one to replace it. Its account is
// the same.
var rebindScript = redis.NewScript(scriptStart + `
local old, new = texts(ARGV[1]), texts(ARGV[2])
if not same(old) or not same(new) then return -2 end
redis.call('HDEL', KEYS[1], old[3])
redis.call('HSET', KEYS[1], new[3], new[5])
redis.call('HSET', KEYS[2], new[6], new[8])
return 0`)

var unbindScript = redis.NewScript(scriptStart + `
local t = texts(ARGV[1])
if not same(t) then return -2 end
redis.call('HDEL', KEYS[1], t[3])
redis.call('HDEL', KEYS[2], t[6])
if KEYS[4] then
	redis.call('HDEL', KEYS[4], t[1])
	redis.call('HDEL', KEYS[5], t[2])
end
looks(t, false)
return 0`)
