package config

import (
	"net/url"
	"strconv"

	"dinggate/internal/conf"
)

// TracingConfig is the `tracing` part: one OpenTelemetry span for each request.
type TracingConfig struct {
	Endpoint string `yaml:"endpoint"` // receiver of OTLP over HTTP, such as http://127.0.0.1:4318; empty: off
	Sample   string `yaml:"sample"`   // share of requests, from 0 to 1, unless a trusted proxy has decided already
}

// Check reports every mistake below key (`tracing`); it opens nothing.
func (c TracingConfig) Check(p *conf.Problems, key string) {
	share, err := strconv.ParseFloat(c.Sample, 64)
	p.At("%s.sample", key).If(err != nil || !(share >= 0 && share <= 1), "is not a number from 0 to 1")
	if c.Endpoint == "" {
		return
	}
	at := p.At("%s.endpoint", key)
	u, err := url.Parse(c.Endpoint)
	at.If(err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil ||
		u.RawQuery != "", "is not an address such as http://127.0.0.1:4318, without user and query")
}

// Share is Sample as a number.
func (c TracingConfig) Share() float64 {
	share, _ := strconv.ParseFloat(c.Sample, 64)
	return share
}
