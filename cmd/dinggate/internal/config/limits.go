package config

import (
	"time"

	"dinggate/internal/conf"
	"dinggate/internal/ratelimit"
)

// LimitsConfig is the `limits` part: limits per client address.
type LimitsConfig struct {
	Starts    ratelimit.Rate `yaml:"starts"`    // sign-ins started at /start
	Exchanges ratelimit.Rate `yaml:"exchanges"` // sign-ins that DingTalk refused: wrong codes, people who are not members
	Passwords ratelimit.Rate `yaml:"passwords"` // wrong passwords
}

func defaultLimits() LimitsConfig {
	return LimitsConfig{
		Starts:    ratelimit.Rate{Every: time.Second / 20, Burst: 600},
		Exchanges: ratelimit.Rate{Every: time.Second / 5, Burst: 60},
		Passwords: ratelimit.Rate{Every: 2 * time.Second, Burst: 60},
	}
}

// mostExchanges is about DingTalk's limit for one app.
const mostExchanges = 20

// Check reports the mistakes below key (`limits`).
func (c LimitsConfig) Check(p *conf.Problems, key string) {
	for name, r := range map[string]ratelimit.Rate{"starts": c.Starts, "exchanges": c.Exchanges, "passwords": c.Passwords} {
		p.At("%s.%s", key, name).If(r.Every <= 0 || r.Burst <= 0, "is not a rate such as 20/s, 30/m or 5/s burst 60")
	}
	p.At("%s.exchanges", key).Warn(c.Exchanges.Every > 0 && c.Exchanges.Every < time.Second/mostExchanges,
		"is above 20/s: one address could use up the limit of DingTalk")
}
