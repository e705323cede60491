package redisstore

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"dinggate/internal/conf"
)

type kind int

const (
	single kind = iota
	socket
	sentinel
	cluster
)

// target is a parsed URL.
type target struct {
	kind               kind
	tls                bool
	addrs              []string // host:port, or the path of the socket
	username, password string
	db                 int
	master             string
}

var schemes = map[string]target{
	"redis":           {kind: single},
	"rediss":          {kind: single, tls: true},
	"unix":            {kind: socket},
	"redis-sentinel":  {kind: sentinel},
	"rediss-sentinel": {kind: sentinel, tls: true},
	"redis-cluster":   {kind: cluster},
	"rediss-cluster":  {kind: cluster, tls: true},
}

// Mistakes in a URL; none quotes it, since it may contain a password.
var (
	errNoURL  = conf.Errorf("is missing; write redis://host:6379/0")
	errScheme = conf.Errorf("does not begin with redis://, rediss://, unix://, redis-sentinel:// or redis-cluster://")
	errUser   = conf.Errorf("has a user or password that is not percent-encoded, such as p%40ss for p@ss")
	errHost   = conf.Errorf("has a host that is not host or host:port")
	errMany   = conf.Errorf("has several hosts, which only redis-sentinel:// and redis-cluster:// allow")
	errDB     = conf.Errorf("has a database that is not a number from 0 to 1023")
	errMaster = conf.Errorf("has no master name: redis-sentinel://host:26379/NAME")
	errPath   = conf.Errorf("has an unsupported path")
	errQuery  = conf.Errorf("has an unsupported query")
	errSocket = conf.Errorf("has no socket: unix:///path/to/redis.sock")
)

// parse parses a URL. net/url does not accept a list of hosts.
func parse(text string) (target, error) {
	if text == "" {
		return target{}, errNoURL
	}
	scheme, rest, ok := strings.Cut(text, "://")
	t, known := schemes[strings.ToLower(scheme)]
	if !ok || !known {
		return target{}, errScheme
	}
	rest, query, found := strings.Cut(rest, "?")
	if found && t.kind != socket || strings.Contains(rest+query, "#") {
		return target{}, errQuery
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if at := strings.LastIndexByte(hosts, '@'); at >= 0 {
		if err := t.credentials(hosts[:at]); err != nil {
			return target{}, err
		}
		hosts = hosts[at+1:]
	}
	if t.kind == socket {
		return t, t.unix(hosts, path, query)
	}
	if err := t.nodes(hosts); err != nil {
		return target{}, err
	}
	return t, t.place(path)
}

func (t *target) credentials(text string) error {
	user, password, _ := strings.Cut(text, ":")
	var err, second error
	t.username, err = url.PathUnescape(user)
	t.password, second = url.PathUnescape(password)
	if err != nil || second != nil || strings.ContainsAny(text, "@") {
		return errUser
	}
	return nil
}

func (t *target) unix(hosts, path, query string) error {
	if hosts != "" || path == "" {
		return errSocket
	}
	plain, err := url.PathUnescape(path)
	if err != nil {
		return errSocket
	}
	t.addrs = []string{"/" + plain}
	if query == "" {
		return nil
	}
	db, ok := strings.CutPrefix(query, "db=")
	if !ok {
		return errQuery
	}
	return t.database(db)
}

func (t *target) nodes(hosts string) error {
	port := "6379"
	if t.kind == sentinel {
		port = "26379"
	}
	for host := range strings.SplitSeq(hosts, ",") {
		addr, ok := address(host, port)
		if !ok {
			return errHost
		}
		t.addrs = append(t.addrs, addr)
	}
	if t.kind == single && len(t.addrs) > 1 {
		return errMany
	}
	return nil
}

// address completes host, host:port, [::1] and [::1]:port.
func address(text, port string) (string, bool) {
	host, given, err := net.SplitHostPort(text)
	if err != nil {
		host, given = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), port
		_, v6 := netip.ParseAddr(host)
		if strings.Contains(host, ":") && (v6 != nil || text[0] != '[') {
			return "", false
		}
	}
	n, err := strconv.ParseUint(given, 10, 16)
	if host == "" || err != nil || n == 0 || strings.ContainsAny(host, "[]@/ \t\r\n%") {
		return "", false
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), true
}

// place parses what follows the hosts: db, master or master/db, or nothing.
func (t *target) place(path string) error {
	if t.kind == sentinel {
		name, db, _ := strings.Cut(path, "/")
		master, err := url.PathUnescape(name)
		if err != nil || master == "" {
			return errMaster
		}
		t.master, path = master, db
	}
	if t.kind == cluster && path != "" && path != "0" {
		return errPath // a cluster has one database
	}
	return t.database(path)
}

func (t *target) database(text string) error {
	if text == "" {
		return nil
	}
	n, err := strconv.ParseUint(text, 10, 10)
	if err != nil {
		return errDB
	}
	t.db = int(n)
	return nil
}
