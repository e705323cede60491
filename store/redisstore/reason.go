package redisstore

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/go-redis/v9"
)

// Reason classifies an error for metrics, by a word of a fixed set; "ok" for nil.
func Reason(err error) string {
	var refusal redis.Error
	var network net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case errors.As(err, &refusal):
		return refused(err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return "refused"
	case errors.Is(err, redis.ErrPoolTimeout):
		return "busy"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "closed"
	}
	return "other"
}

// Reads reports whether Redis still answers reads although it refused a write: sessions are
// recognised, but no one can sign in or out.
func Reads(err error) bool {
	reason := Reason(err)
	return reason == "ok" || reason == "oom" || reason == "readonly"
}

// refused classifies a refusal of Redis itself.
func refused(err error) string {
	_, moved := redis.IsMovedError(err)
	_, ask := redis.IsAskError(err)
	switch {
	case moved || ask:
		return "moved"
	case redis.IsReadOnlyError(err), redis.IsNoReplicasError(err):
		return "readonly"
	case redis.IsOOMError(err):
		return "oom"
	case redis.IsAuthError(err), redis.IsPermissionError(err):
		return "noauth"
	case redis.IsLoadingError(err):
		return "loading"
	case redis.IsClusterDownError(err), redis.IsMasterDownError(err), redis.IsTryAgainError(err):
		return "down"
	case redis.IsMaxClientsError(err):
		return "busy"
	}
	return "other"
}

// redact removes from an error the part of a command that Redis repeats, which may be a password,
// and adds what to do.
func redact(err error) error {
	var refusal redis.Error
	if !errors.As(err, &refusal) {
		return err
	}
	text, _, _ := strings.Cut(refusal.Error(), ", with args")
	hint := map[string]string{
		"moved":    "; this is a cluster: write redis-cluster://",
		"readonly": "; this is a replica, or a master without its replicas",
		"oom":      "; raise its maxmemory",
		"noauth":   "; see redis.username, redis.password and the rules of the ACL",
	}[refused(err)]
	return &refusalError{text + hint, err}
}

type refusalError struct {
	text  string
	cause error
}

func (e *refusalError) Error() string { return e.text }
func (e *refusalError) Unwrap() error { return e.cause }
