package main

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"
)

// keyPair is our own pair of certificate and key; handshakes take the one
// that is there now, so that a new pair needs no new listener. Load it before
// it is shared; safe for concurrent use then.
type keyPair struct {
	pair atomic.Pointer[tls.Certificate]
}

// load takes a new pair, or leaves the old one and says why.
func (c *keyPair) load(files TLSConfig) error {
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	c.pair.Store(&pair)
	return nil
}

func (c *keyPair) config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.pair.Load(), nil }}
}
