package realtool

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// StartCluster starts a Redis Cluster of masters that share the slots evenly, in order. A node is
// considered failed after timeout; the masters have no replicas, and with coverage "no" the
// remaining masters still serve their slots. More arguments of redis-server follow.
func StartCluster(t testing.TB, masters int, timeout time.Duration, coverage string,
	args ...string) (url string, all []*Redis) {
	t.Helper()
	var addrs []string
	for range masters {
		_, bus, _ := net.SplitHostPort(FreeAddr(t))
		r := StartRedis(t, append([]string{"--cluster-enabled", "yes", "--cluster-config-file", "nodes",
			"--cluster-node-timeout", strconv.FormatInt(timeout.Milliseconds(), 10), "--cluster-port", bus,
			"--cluster-require-full-coverage", coverage}, args...)...)
		all, addrs = append(all, r), append(addrs, r.Addr)
	}
	for i, r := range all {
		first, last := 16384*i/masters, 16384*(i+1)/masters-1
		if got := r.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)); got != "OK\n" {
			t.Fatalf("ADDSLOTSRANGE = %q", got)
		}
		MeetCluster(r, all[0])
	}
	for _, r := range all {
		r.Await("a cluster that is whole", func() bool {
			info := r.Do("CLUSTER", "INFO")
			return strings.Contains(info, "cluster_state:ok") &&
				strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(masters)) &&
				strings.Contains(info, "cluster_slots_ok:16384")
		})
	}
	return "redis-cluster://" + strings.Join(addrs, ","), all
}

// MeetCluster makes r a node of the cluster of other.
func MeetCluster(r, other *Redis) {
	bus := strings.TrimSpace(strings.Split(other.Do("CONFIG", "GET", "cluster-port"), "\n")[1])
	_, port, _ := net.SplitHostPort(other.Addr)
	r.Do("CLUSTER", "MEET", "127.0.0.1", port, bus)
}
