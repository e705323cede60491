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

// A process reserves blocks of ports: it listens on the first of each as long as it runs, so that
// no other process has a port of the same block while nothing listens on it.
const portBlock = 100

var ports struct {
	sync.Mutex
	next, end int // the rest of the block
	reserved  []net.Listener
}

// FreeAddr is a port of 127.0.0.1 that was free a moment ago, for programs that cannot choose one.
// No port is returned twice, to no process of this machine.
func FreeAddr(t testing.TB) string {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	for {
		if ports.next == ports.end {
			reservePorts(t)
		}
		addr := loopback(ports.next)
		ports.next++
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
}

func reservePorts(t testing.TB) {
	t.Helper()
	const blocks = (lastPort - firstPort + 1) / portBlock
	n, err := rand.Int(rand.Reader, big.NewInt(blocks))
	if err != nil {
		t.Fatal(err)
	}
	for i := range blocks {
		first := firstPort + (int(n.Int64())+i)%blocks*portBlock
		if l, err := net.Listen("tcp", loopback(first)); err == nil {
			ports.reserved = append(ports.reserved, l)
			ports.next, ports.end = first+1, first+portBlock
			return
		}
	}
	t.Fatal("no port is free")
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
