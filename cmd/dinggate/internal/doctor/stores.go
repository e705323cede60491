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

// storeChecks check the stores of sessions.
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

// audit appends nothing: it opens the file, or checks whether it could be created, and
// whether its directory has free space.
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
			Text:     i18n.Message{"cannot be appended to: serve will not start", "无法追加写入，serve 将无法启动"},
			Detail:   config.Cause(err),
		}
		f.Hint = i18n.Message{"its directory must belong to the user that dinggate runs as: " +
			filepath.Dir(d.cfg.Audit.File), "目录应归运行 dinggate 的用户所有：" + filepath.Dir(d.cfg.Audit.File)}
		return f
	}
	info, err := file.Stat()
	file.Close()
	if err == nil && info.Mode().IsRegular() {
		if dir := filepath.Dir(d.cfg.Audit.File); full(tryWrite(dir)) {
			return fullDisk(dir, i18n.Message{"has no space left: records are lost, or sign-ins are refused with on_error: deny",
				"磁盘已满：审计记录会丢失；on_error: deny 时会拒绝登录"})
		}
	}
	return good(i18n.Message{d.cfg.Audit.File + ", on_error: " + d.cfg.Audit.OnError,
		d.cfg.Audit.File + "，on_error: " + d.cfg.Audit.OnError})
}

// tracing connects to the collector. A failure does not affect requests.
func (d *Doctor) tracing(ctx context.Context) Result {
	u, err := url.Parse(d.cfg.Tracing.Endpoint)
	if err != nil {
		return failed(err)
	}
	if f, ok := proxied(u); ok {
		return f
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

// redisSlow is a round-trip time that sign-ins and sign-outs notice.
const redisSlow = 50 * time.Millisecond

func (d *Doctor) redis(ctx context.Context) Result {
	store, err := redisstore.Open(d.cfg.Redis)
	if err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"cannot be used", "无法使用"},
			Detail:   err.Error(),
			Hint:     redisHints["other"],
		}
	}
	defer store.Close()
	began := d.now()
	ping := func() (err error) { // a late answer does not mean unavailable: retry for a while
		for {
			if err = store.Ping(ctx); err == nil || redisstore.Reason(err) != "timeout" ||
				d.now().Sub(began) > d.MaxWait {
				return err
			}
		}
	}
	err = ping() // the first one connects
	if err != nil {
		reason := redisstore.Reason(err)
		hint, known := redisHints[reason]
		if !known {
			hint = redisHints["other"]
		}
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"refuses writes: " + reason, "无法写入：" + reason},
			Detail:   err.Error(),
			Hint:     hint,
		}
	}
	began = d.now()
	if err := ping(); err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"stops answering after the first request", "应答一次后不再应答"},
			Detail:   err.Error(),
			Hint:     redisHints["other"],
		}
	}
	took := d.now().Sub(began)
	policy, known := store.Eviction(ctx)
	if policy != "" {
		return Result{Severity: Wrong, Hint: redisHints["evicts"], Text: i18n.Message{
			"drops data when memory is full: maxmemory-policy is " + policy,
			"内存不足时会丢弃数据：maxmemory-policy 为 " + policy}}
	}
	f := good(i18n.Message{fmt.Sprintf("writes within %.1f ms", took.Seconds()*1000),
		fmt.Sprintf("写入耗时 %.1f 毫秒", took.Seconds()*1000)})
	if !known {
		f.Detail = "maxmemory-policy is unknown: INFO memory is refused"
	}
	if took > d.Slow {
		f.Severity = Warning
		f.Hint = redisHints["slow"]
	}
	return f
}

var redisHints = map[string]i18n.Message{
	"slow":    {"is it in the same network? every sign-in and sign-out waits for it", "是否与本机在同一网络？每次登录和退出登录都要等待它"},
	"refused": {"check redis.url, and that Redis listens there", "请核对 redis.url，并确认 Redis 在该地址监听"},
	"timeout": {"check redis.url; a firewall may drop packets, or Redis hangs",
		"核对 redis.url；可能被防火墙丢弃，或 Redis 无响应"},
	"noauth": {"see redis.username, redis.password_file and the rules of the ACL",
		"核对 redis.username、redis.password_file 以及 ACL 规则"},
	"readonly": {"this is a replica: use the master, or Sentinel (redis-sentinel://)",
		"这是从库：请指向主库，或使用哨兵（redis-sentinel://）"},
	"moved": {"this is a cluster: write redis-cluster://", "这是集群：请写 redis-cluster://"},
	"evicts": {
		"set maxmemory-policy noeviction, and give Redis enough memory; with another policy sign-outs are " +
			"lost, and used codes become valid again", "请设置 maxmemory-policy noeviction 并留足内存；否则退出登录的记录会丢失，用过的授权码会再次有效",
	},
	"oom":     {"raise its maxmemory", "请调大 maxmemory"},
	"loading": {"Redis is starting: try again in a moment", "Redis 正在启动：请稍后再试"},
	"other":   {"see redis.url; TLS is rediss://", "核对 redis.url；TLS 请用 rediss://"},
}

func stateDir(dir string) Result {
	err := tryWrite(dir)
	if full(err) {
		return fullDisk(dir, i18n.Message{"has no space left: once the file must grow, sign-ins are refused and sign-outs not stored",
			"磁盘已满：文件需要增长时会拒绝登录，退出登录也无法保存"})
	}
	if errors.Is(err, fs.ErrNotExist) && tryWrite(filepath.Dir(dir)) == nil {
		return good(i18n.Message{"does not exist yet: it is created at the start", "尚不存在，启动时创建"})
	}
	if err != nil {
		return Result{
			Severity: Wrong,
			Text:     i18n.Message{"cannot be written to", "无法写入"},
			Detail:   config.Cause(err),
			Hint: i18n.Message{
				"it must belong to the user that dinggate runs as: install -d -m 700 -o USER " + dir,
				"目录应归运行 dinggate 的用户所有：install -d -m 700 -o 用户 " + dir},
		}
	}
	return good(i18n.Message{"can be written to", "可写"})
}

// tryWrite writes a page to a temporary file in dir: an empty file can be created on a
// full disk, too.
func tryWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(make([]byte, 4096))
	return errors.Join(err, f.Close())
}

func full(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

func fullDisk(dir string, text i18n.Message) Result {
	return Result{
		Severity: Wrong,
		Text:     text,
		Hint:     i18n.Message{"free space: df -h " + dir, "请清理磁盘：df -h " + dir},
	}
}
