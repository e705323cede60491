package server

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"dinggate/cmd/dinggate/internal/config"
)

// keyPair is our own certificate with its key, and whose clients may connect;
// handshakes take what is there now, so that a new pair needs no new listener.
// Load it before it is shared; safe for concurrent use then.
type keyPair struct{ now atomic.Pointer[tls.Config] }

var errNoAuthority = errors.New("tls.client_ca_file: holds no certificate in PEM form")

// load takes a new pair, or leaves the old one and says why.
func (k *keyPair) load(files config.TLSConfig) error {
	pair, err := tls.LoadX509KeyPair(files.CertFile, files.KeyFile)
	if err != nil {
		return fmt.Errorf("tls: %w", err)
	}
	c := tlsDefaults()
	c.Certificates = []tls.Certificate{pair}
	if files.ClientCAFile != "" {
		text, err := os.ReadFile(files.ClientCAFile)
		if err != nil {
			return fmt.Errorf("tls: %w", err)
		}
		c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
		if !c.ClientCAs.AppendCertsFromPEM(text) {
			return errNoAuthority
		}
	}
	k.now.Store(c)
	return nil
}

func tlsDefaults() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// config is for a listener. Its handshakes share one configuration until the
// next load, and with it the keys of session tickets.
func (k *keyPair) config() *tls.Config {
	c := tlsDefaults()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return k.now.Load(), nil }
	return c
}

// notAfter is when the certificate ends.
func (k *keyPair) notAfter() time.Time { return k.now.Load().Certificates[0].Leaf.NotAfter }

// hstsValue is the value of Strict-Transport-Security; nil: it is not sent.
func hstsValue(c config.TLSConfig) []string {
	if c.HSTS <= 0 {
		return nil
	}
	return []string{"max-age=" + strconv.Itoa(int(c.HSTS.Seconds()))}
}

// hsts has browsers use https alone for a time (RFC 6797), for this host and not
// for those below it: they may be run by others.
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
