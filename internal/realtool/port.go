package realtool

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
)

// The ports of FreeAddr are below those that systems use for outgoing connections (from 32768 on
// Linux, from 49152 elsewhere). Otherwise an outgoing connection of any test can take the port
// before the program listens, or while it is down: even a connection to that port itself, which
// TCP connects to itself if both ends have the same number.
const firstPort, lastPort = 12_000, 31_999

var ports struct {
	sync.Mutex
	next int // 0: none was returned yet
}

// FreeAddr is a port of 127.0.0.1 that was free a moment ago, for programs that cannot choose one.
// It returns no port twice, and processes that run at the same time begin at different ports.
func FreeAddr(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.next == 0 {
		n, err := rand.Int(rand.Reader, big.NewInt(lastPort-firstPort+1))
		if err != nil {
			t.Fatal(err)
		}
		ports.next = firstPort + int(n.Int64())
	}
	for range lastPort - firstPort + 1 {
		addr := fmt.Sprintf("127.0.0.1:%d", ports.next)
		if ports.next++; ports.next > lastPort {
			ports.next = firstPort
		}
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}
