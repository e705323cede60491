package dingtalk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
)

const maxBody = 1 << 20 // after decompression

// callError is a call without an answer. Its text is redacted: that of the *url.Error
// below it quotes the URL with access_token, so that error is not wrapped, only the
// cause context.Canceled or context.DeadlineExceeded.
type callError struct {
	kind  string // canceled, timeout, dns, connect, tls, transport, held
	path  string
	text  string
	cause error // context.Canceled, context.DeadlineExceeded or nil
}

func (e *callError) Error() string { return "dingtalk: calling " + e.path + ": " + e.text }
func (e *callError) Unwrap() error { return e.cause }

// transportError classifies a failure below HTTP; each kind has its own metric (threats V5).
func transportError(ctx context.Context, path string, err error, r redactor) *callError {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	e := &callError{kind: "transport", path: path, text: r.text(err.Error())}
	var slow net.Error
	_, dns := errors.AsType[*net.DNSError](err)
	op, dial := errors.AsType[*net.OpError](err)
	switch {
	case errors.Is(err, context.Canceled):
		e.kind, e.cause = "canceled", context.Canceled
	case ctx.Err() != nil:
		e.kind, e.text, e.cause = "timeout", "no answer in time", context.DeadlineExceeded
	case dns:
		e.kind = "dns"
	case dial && op.Op == "dial":
		e.kind = "connect"
	case isTLS(err):
		e.kind = "tls"
	case errors.As(err, &slow) && slow.Timeout():
		e.kind, e.cause = "timeout", context.DeadlineExceeded
	}
	return e
}

func isTLS(err error) bool {
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	return verify || record || alert || host
}
