package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/tlsfile"
)

// keyPair is our certificate with its key, and the authorities of client certificates.
// Handshakes use the current state, so that a new pair needs no new listener. Load it
// before you share it; then it is safe for concurrent use.
type keyPair struct{ now atomic.Pointer[tls.Config] }

// load replaces the pair, or keeps the old one and returns the reason.
func (k *keyPair) load(files config.TLSConfig) error {
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	c := tlsDefaults()
	c.Certificates = []tls.Certificate{pair}
	if c.ClientCAs, err = tlsfile.Authorities(files.ClientCAFile); err != nil {
		return fmt.Errorf("tls: reading client_ca_file: %w", err)
	}
	if c.ClientCAs != nil {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	k.now.Store(c)
	return nil
}

func tlsDefaults() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// config returns the configuration of a listener. Its handshakes share one configuration,
// and with it the keys of session tickets, until the next load.
func (k *keyPair) config() *tls.Config {
	c := tlsDefaults()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.now.Load(), nil }
	return c
}

// notAfter is the end of the certificate's validity.
func (k *keyPair) notAfter() time.Time { return k.now.Load().Certificates[0].Leaf.NotAfter }

// hstsValue is the value of Strict-Transport-Security; nil: it is not sent.
func hstsValue(c config.TLSConfig) []string {
	if c.HSTS <= 0 {
		return nil
	}
	return []string{"max-age=" + strconv.Itoa(int(c.HSTS.Seconds()))}
}

// hsts makes browsers use https for a time (RFC 6797), for this host but not for its
// subdomains, which others may operate.
func hsts(c config.TLSConfig, h http.Handler) http.Handler {
	value := hstsValue(c)
	if value == nil {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Strict-Transport-Security"] = value
		h.ServeHTTP(w, r)
	})
}
