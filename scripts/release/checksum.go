package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// checksums writes SHA256SUMS of every finished file, as sha256sum --check reads it.
func (r *release) checksums() (file string, err error) {
	names, err := os.ReadDir(r.out) // sorted
	if err != nil {
		return "", err
	}
	var sums bytes.Buffer
	for _, e := range names {
		f, err := os.Open(filepath.Join(r.out, e.Name()))
		if err != nil {
			return "", err
		}
		h := sha256.New()
		_, err = io.Copy(h, f)
		f.Close()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&sums, "%x  %s\n", h.Sum(nil), e.Name())
	}
	file = filepath.Join(r.out, "SHA256SUMS")
	return file, os.WriteFile(file, sums.Bytes(), 0o644)
}

// sign writes FILE.sig: the Ed25519 signature of the file, 64 bytes, in the form of
// `openssl pkeyutl -verify -rawin`. keyFile is PKCS #8 in PEM, as `openssl genpkey
// -algorithm ed25519` writes it. No error contains the key.
func sign(file, keyFile string) error {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return fmt.Errorf("%s is no PEM file", keyFile)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return fmt.Errorf("%s holds no key in PKCS #8", keyFile)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return errors.New(keyFile + " holds no Ed25519 key; make one with `openssl genpkey -algorithm ed25519`")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file+".sig", ed25519.Sign(key, data), 0o644)
}
