package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"dinggate/cmd/dinggate/internal/config"
	"dinggate/internal/i18n"
	"dinggate/session"
	"dinggate/store/redisstore"
)

// storeChecks look at what keeps sessions.
func (d *Doctor) storeChecks() (all []check) {
	if d.cfg.Session.Store == session.StoreRedis {
		all = append(all, check{Name: "redis", title: i18n.Message{"Redis", "Redis"}, run: d.redis})
	}
	if d.cfg.StateDir != "" {
		all = append(all, check{
			Name:  "state_dir",
			title: i18n.Message{"state_dir", "state_dir"},
			run:   func(context.Context) Result { return stateDir(d.cfg.StateDir) },
		})
	}
	if d.cfg.Audit.File != "" {
		all = append(all, check{
			Name:  "audit",
			title: i18n.Message{"audit file", "审计文件"},
			run:   func(context.Context) Result { return d.audit() },
		})
	}
	if d.cfg.Tracing.Endpoint != "" {
		all = append(all, check{Name: "tracing", title: i18n.Message{"tracing endpoint", "追踪端点"}, run: d.tracing})
	}
	return all
}

// audit appends nothing: it opens the file, or looks whether one could be made.
func (d *Doctor) audit() Result {
	file, err := os.OpenFile(d.cfg.Audit.File, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		file, err = os.CreateTemp(filepath.Dir(d.cfg.Audit.File), ".doctor-*")
		if err == nil {
			defer os.Remove(file.Name())
		}
	}
	if err != nil {
		f := Result{
			Severity: Wrong,
			Text:     i18n.Message{"cannot be appended to, so that serve does not start", "无法追加写入，serve 将无法启动"},
			Detail:   config.Cause(err),
		}
		f.Hint = i18n.Message{"let the user that dinggate runs as own its directory: " +
			filepath.Dir(d.cfg.Audit.File), "目录应归运行 dinggate 的用户所有：" + filepath.Dir(d.cfg.Audit.File)}
		return f
	}
	file.Close()
	return good(i18n.Message{d.cfg.Audit.File + ", on_error: " + d.cfg.Audit.OnError,
		d.cfg.Audit.File + "，on_error: " + d.cfg.Audit.OnError})
}

// tracing connects to the collector. Without it nobody is kept out.
func (d *Doctor) tracing(ctx context.Context) Result {
	u, err := url.Parse(d.cfg.Tracing.Endpoint)
	if err != nil {
		return failed(err)
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	if _, err := d.connect(ctx, "tcp", address, d.tlsTo(u.Scheme == "https", u.Hostname(), nil)); err != nil {
		f := unreachable(address, err)
		f.Severity = Warning
		return f
	}
	return good(i18n.Message{address + " answers", "可以连接 " + address})
}

// redisSlow is a round trip that sign-ins and sign-outs feel.
const redisSlow = 50 * time.Millisecond

func (d *Doctor) redis(ctx context.Context) Result {
	store, err := redisstore.Open(d.cfg.Redis)
	if err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"cannot be used", "无法使用"},
			Detail:   err.Error(),
			Hint:     cureRedis["other"],
		}
	}
	defer store.Close()
	began := d.now()
	ping := func() (err error) { // one that is late is not away: again, for a while
		for {
			if err = store.Ping(ctx); err == nil || redisstore.Reason(err) != "timeout" ||
				d.now().Sub(began) > d.Patience {
				return err
			}
		}
	}
	err = ping() // the first one connects
	if err != nil {
		reason := redisstore.Reason(err)
		cure, known := cureRedis[reason]
		if !known {
			cure = cureRedis["other"]
		}
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"takes no writes: " + reason, "无法写入：" + reason},
			Detail:   err.Error(),
			Hint:     cure,
		}
	}
	began = d.now()
	if err := ping(); err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"answers once and then not", "应答一次后不再应答"},
			Detail:   err.Error(),
			Hint:     cureRedis["other"],
		}
	}
	took := d.now().Sub(began)
	policy, known := store.Eviction(ctx)
	if policy != "" {
		return Result{Severity: Wrong, Hint: cureRedis["evicts"], Text: i18n.Message{
			"drops what it was given as it fills up: maxmemory-policy is " + policy,
			"内存不足时会丢弃数据：maxmemory-policy 为 " + policy}}
	}
	f := good(i18n.Message{fmt.Sprintf("writes within %.1f ms", took.Seconds()*1000),
		fmt.Sprintf("写入耗时 %.1f 毫秒", took.Seconds()*1000)})
	if !known {
		f.Detail = "maxmemory-policy is not known: INFO memory is refused"
	}
	if took > d.Slow {
		f.Severity = Warning
		f.Hint = cureRedis["slow"]
	}
	return f
}

var cureRedis = map[string]i18n.Message{
	"slow":    {"is it in the same network? every sign-in and sign-out waits for it", "是否与本机在同一网络？每次登录和退出都要等待它"},
	"refused": {"is redis.url right, and does Redis listen there?", "核对 redis.url，Redis 是否在该地址监听？"},
	"timeout": {"is redis.url right? a firewall swallows the packets, or Redis hangs",
		"核对 redis.url；可能被防火墙丢弃，或 Redis 无响应"},
	"noauth": {"see redis.username, redis.password_file and the rules of the ACL",
		"核对 redis.username、redis.password_file 以及 ACL 规则"},
	"readonly": {"this is a replica: name the master, or the sentinels (redis-sentinel://)",
		"这是从库：请指向主库，或使用哨兵（redis-sentinel://）"},
	"moved": {"this is a cluster: write redis-cluster://", "这是集群：请写 redis-cluster://"},
	"evicts": {
		"set maxmemory-policy noeviction, and give Redis enough memory; under another policy sign-outs are " +
			"forgotten, and used codes count again", "请设置 maxmemory-policy noeviction 并留足内存；否则退出登录的记录会丢失，用过的授权码会再次有效",
	},
	"oom":     {"raise its maxmemory", "请调大 maxmemory"},
	"loading": {"Redis is starting: try again in a moment", "Redis 正在启动：请稍后再试"},
	"other":   {"see redis.url; TLS is rediss://", "核对 redis.url；TLS 请用 rediss://"},
}

func stateDir(dir string) Result {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"cannot be written to", "无法写入"},
			Detail:   config.Cause(err),
			Hint: i18n.Message{
				"let the user that dinggate runs as own it: install -d -m 700 -o USER " + dir,
				"目录应归运行 dinggate 的用户所有：install -d -m 700 -o 用户 " + dir},
		}
	}
	f.Close()
	os.Remove(f.Name())
	return good(i18n.Message{"can be written to", "可写"})
}
