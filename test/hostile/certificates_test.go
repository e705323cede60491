package hostile

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// authority issues certificates for one class.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// leaf is what a certificate says; the zero value is a good one for 127.0.0.1
// and app.test.
type leaf struct {
	name    string        // one DNS name in place of the usual ones
	address net.IP        // one address in place of 127.0.0.1
	ends    time.Duration // from now; 0 is in an hour
	begins  time.Duration // from now; 0 is an hour ago
	client  bool          // for clients, not for servers
	self    bool          // stands for itself
}

func newAuthority() *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "authority"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		panic(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		panic(err)
	}
	return &authority{c, key}
}

func (a *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// issue makes a certificate and its key, both as PEM.
func (a *authority) issue(l leaf) (cert, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	begins, ends := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if l.begins != 0 {
		begins = time.Now().Add(l.begins)
	}
	if l.ends != 0 {
		ends = time.Now().Add(l.ends)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: "app.test"},
		NotBefore:    begins,
		NotAfter:     ends,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"app.test", "localhost"},
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	if l.name != "" {
		c.DNSNames, c.IPAddresses = []string{l.name}, nil
	}
	if l.address != nil {
		c.IPAddresses = []net.IP{l.address}
	}
	if l.client {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	parent, signer := a.cert, a.key
	if l.self {
		parent, signer = c, private
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, private.Public(), signer)
	if err != nil {
		panic(err)
	}
	plain, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: plain})
}

func (a *authority) pair(l leaf) tls.Certificate {
	pair, err := tls.X509KeyPair(a.issue(l))
	if err != nil {
		panic(err)
	}
	return pair
}

// files writes a pair and gives the lines of a configuration that name it.
func (a *authority) files(t *testing.T, l leaf) (certFile, keyFile string) {
	dir := t.TempDir()
	cert, key := a.issue(l)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certFile, string(cert))
	write(t, keyFile, string(key))
	return certFile, keyFile
}

// trusting is a client that believes this authority and nobody else.
func (a *authority) trusting() *tls.Config {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &tls.Config{RootCAs: pool, ServerName: "app.test"}
}
