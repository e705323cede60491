package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"dinggate/internal/ratelimit"

	"github.com/redis/go-redis/v9"
)

// Allowance is the share of DingTalk's calls per second that the replicas of one app use together:
// a hash with the state of each API, and the queue of sign-ins. The keys have one hash tag, so
// that a script may use them together in a cluster. The clock is that of Redis.
type Allowance struct {
	store  *Store
	keys   []string // the hash, the places by ticket, the last request of each
	script *redis.Script
}

var _ ratelimit.Allowance = (*Allowance)(nil)

// Allowance returns the allowance of an app.
func (s *Store) Allowance(app string) *Allowance {
	sum := sha256.Sum256([]byte(app))
	tag := s.prefix + "{calls:" + hex.EncodeToString(sum[:8]) + "}"
	return &Allowance{s, []string{tag + ":apis", tag + ":queue", tag + ":seen"}, allowanceScript}
}

// Draw takes the calls, or returns when to try again.
func (a *Allowance) Draw(ctx context.Context, d ratelimit.Draw) (got ratelimit.Drawn, err error) {
	args := []any{"draw", d.Replica, d.Rate, int(d.Class), int(d.Mode), d.Ticket, d.ID}
	for _, name := range d.Names {
		args = append(args, name)
	}
	answer, err := a.run(ctx, args)
	if err != nil {
		return got, err
	}
	return ratelimit.Drawn{
		OK:       answer[0] == 1,
		Wait:     time.Duration(answer[1]) * time.Microsecond,
		Replicas: int(answer[2]),
	}, nil
}

// Place finds or creates the place of id.
func (a *Allowance) Place(ctx context.Context, id string, ticket int64) (p ratelimit.Place, err error) {
	answer, err := a.run(ctx, []any{"place", id, ratelimit.MaxPlaces, ratelimit.PlaceLife.Microseconds(), ticket})
	if err != nil {
		return p, err
	}
	if answer[0] == 0 {
		return p, ratelimit.ErrFull
	}
	return ratelimit.Place{Ticket: answer[0], Ahead: int(answer[1]), Queue: int(answer[2])}, nil
}

// Throttled pauses the calls of name.
func (a *Allowance) Throttled(ctx context.Context, name string) error {
	_, err := a.run(ctx, []any{"throttled", name})
	return err
}

func (a *Allowance) run(ctx context.Context, args []any) (answer []int64, err error) {
	err = a.store.do(ctx, "allowance", func(ctx context.Context) error {
		answer, err = a.script.Run(ctx, a.store.client, a.keys, args...).Int64Slice()
		if err == nil && len(answer) != 3 {
			err = fmt.Errorf("a script's answer of %s numbers", strconv.Itoa(len(answer)))
		}
		return err
	})
	return answer, err
}

var allowanceScript = redis.NewScript(allowanceSource)

// allowanceSource implements the rules of ratelimit.Allowance, as ratelimit.Local does. Times are
// microseconds. Fields of the hash, for each API: t and p, when budget and pace are full again; b
// and l, until when and how long it is paused; f and g, its share of the rate and since when; k,
// when the others last had their one call per second; e, when events last had a call; w0 to w3,
// until when a class waits. n: and h: with a replica's name are the time of its last request, and
// the ticket of its first waiter with its expiry; now is the time of the last write.
const allowanceSource = `
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local h, set = {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do h[all[i]] = all[i+1] end
local function num(k) return tonumber(h[k] or '0') end
-- the clock was set back, or the new master's is behind: the times are not reached for as long
if num('now') - now > 2000000 then
	redis.call('DEL', KEYS[1], KEYS[2], KEYS[3])
	h = {}
end
local function put(k, v)
	h[k] = v
	set[#set+1] = k
	set[#set+1] = type(v) == 'number' and string.format('%.0f', v) or v
end
local function save()
	put('now', now)
	redis.call('HSET', KEYS[1], unpack(set))
	redis.call('PEXPIRE', KEYS[1], 600000)
end
local function share(name)
	return math.min(1, tonumber(h[name .. ':f'] or '1') + (now - num(name .. ':g')) / 60000000)
end

if ARGV[1] == 'throttled' then
	local name = ARGV[2]
	local held = num(name .. ':b')
	if held > now then return {1, 0, 0} end
	local length = 500000
	if num(name .. ':l') > 0 and now - held <= 5000000 then length = math.min(2 * num(name .. ':l'), 8000000) end
	put(name .. ':f', tostring(math.max(0.25, share(name) * 0.8)))
	put(name .. ':g', now)
	put(name .. ':l', length)
	put(name .. ':b', now + length)
	save()
	return {1, length, 0}
end

if ARGV[1] == 'place' then
	local id = ARGV[2]
	for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now - tonumber(ARGV[4]), 'LIMIT', 0, 100)) do
		if old ~= id then
			redis.call('ZREM', KEYS[2], old)
			redis.call('ZREM', KEYS[3], old)
		end
	end
	local ticket = redis.call('ZSCORE', KEYS[2], id)
	if not ticket then
		if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[3]) then return {0, 0, 0} end
		-- behind the last one, and behind all that were there before the queue was empty
		ticket = tonumber(ARGV[5])
		if ticket <= 0 or ticket > math.max(now, num('last')) then
			ticket = math.max(now, num('last') + 1)
			put('last', ticket)
			save()
		end
		redis.call('ZADD', KEYS[2], string.format('%.0f', ticket), id)
	end
	redis.call('ZADD', KEYS[3], string.format('%.0f', now), id)
	redis.call('PEXPIRE', KEYS[2], 600000)
	redis.call('PEXPIRE', KEYS[3], 600000)
	return {tonumber(ticket), redis.call('ZRANK', KEYS[2], id), redis.call('ZCARD', KEYS[2])}
end

local me, rate, class, mode, ticket, id = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
local order = {[0] = 0, 1, 2, 3}
local reserve = {[0] = 0, 2, 1, 3}
local function every(name, r) return 1000000 / (r * share(name)) end
local function turn(name, class)
	local signing = class > 0 and num(name .. ':w0') > now
	local events = (class == 2 or num(name .. ':w2') > now) and now - num(name .. ':e') >= 1000000
	local by = (signing or events) and reserve or order
	for k = 1, 3 do
		if class > 0 and num(name .. ':w' .. k) > now and by[k] < by[class] then return 100000 end
	end
	if signing then return 1000000 - (now - num(name .. ':k')) end
	return math.max(num(name .. ':t'), now) - now - 3 * every(name, rate)
end
-- the class in which the caller's turn is sooner
local named = class == 1 and ticket < 0
local function as(name)
	return named and turn(name, 2) <= turn(name, 1) and 2 or class
end
local wait = 0
for i = 8, #ARGV do
	local name = ARGV[i]
	wait = math.max(wait, num(name .. ':b') - now)
	if mode ~= 1 then wait = math.max(wait, num(name .. ':p') - now) end
	if mode ~= 2 then wait = math.max(wait, turn(name, as(name))) end
end
local ok, replicas, gone = wait <= 0, 1, {}
for k, v in pairs(h) do
	local kind = string.sub(k, 1, 2)
	if kind == 'n:' and k ~= 'n:' .. me then
		if now - tonumber(v) < 30000000 then replicas = replicas + 1
		elseif now - tonumber(v) > 300000000 then gone[#gone+1] = k; gone[#gone+1] = 'h:' .. string.sub(k, 3) end
	end
	if kind == 'h:' and ticket > 0 and k ~= 'h:' .. me then
		local first, till = string.match(v, '^(%d+) (%d+)$')
		if first and tonumber(first) < ticket and tonumber(till) > now then
			ok, wait = false, math.max(wait, 500000 / rate)
		end
	end
end
for i = 8, #ARGV do
	local name = ARGV[i]
	if ok then
		local class = as(name)
		if mode ~= 1 then put(name .. ':p', math.max(num(name .. ':p'), now) + every(name, rate + 1)) end
		if mode ~= 2 then
			put(name .. ':t', math.max(num(name .. ':t'), now) + every(name, rate))
			if class > 0 then put(name .. ':k', now) end
			if class == 2 then put(name .. ':e', now) end
		end
	elseif mode ~= 2 then
		put(name .. ':w' .. class, now + wait + 200000)
		if named then put(name .. ':w2', now + wait + 200000) end
	end
end
if ticket > 0 then
	if ok then
		gone[#gone+1] = 'h:' .. me
		redis.call('ZREM', KEYS[2], id)
		redis.call('ZREM', KEYS[3], id)
	else
		put('h:' .. me, string.format('%.0f %.0f', ticket, now + wait + 200000))
	end
end
put('n:' .. me, now)
save()
if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
return {ok and 1 or 0, math.max(1000, math.ceil(wait)), replicas}
`
