package release_test

import (
	"path/filepath"
	"strings"
	"testing"

	"dinggate/dingtalk/simulator"
	"dinggate/internal/realtool"
)

// packager is a package format: how its tool installs, and what it does where
// the two differ.
type packager struct {
	name            string
	older, newer    string // the packages, at /mnt
	install, remove string // commands
}

// TestDeb installs the deb in a copy of this machine, completes the configuration
// as a new user does, signs in, upgrades, removes and purges.
func TestDeb(t *testing.T) {
	needTools(t)
	m := newMachine(t, packages(t))
	p := packager{"deb", "dinggate_1.0.0_*.deb", "dinggate_1.0.1_*.deb", "dpkg -i", "dpkg -r dinggate"}
	lifecycle(t, m, p)
	m.run("purge", "dpkg -P dinggate")
	m.want("purged", "ls -d /etc/dinggate /var/lib/dinggate /var/log/dinggate 2>/dev/null || echo none", "none")
	m.want("its status", "dpkg-query -W -f '${Status}' dinggate 2>/dev/null || echo unknown", "unknown")
	m.run("install again", "dpkg -i /mnt/"+p.newer)
	m.want("manual pages and completions",
		"ls /usr/share/man/man5/dinggate-config.5.gz /usr/share/man/zh_CN/man1/dinggate-serve.1.gz /usr/share/bash-completion/completions/dinggate | wc -l", "3")
	m.want("not started", "systemctl is-active dinggate || true", "inactive")
}

// TestRPM does the same with the rpm, by Debian's build of rpm with a database of its own.
func TestRPM(t *testing.T) {
	needTools(t)
	m := newMachine(t, packages(t))
	const rpm = "rpm --dbpath /var/lib/rpm-test --nodeps"
	p := packager{"rpm", "dinggate-1.0.0-1.*.rpm", "dinggate-1.0.1-1.*.rpm", rpm + " -U --force", rpm + " -e dinggate"}
	lifecycle(t, m, p)
	m.want("the state stays", "ls /var/lib/dinggate", "dinggate.db")
}

// TestLint: lintian reports nothing about the deb, and the documents of the rpm are
// marked as such. The maintainer's address is a placeholder until a release.
func TestLint(t *testing.T) {
	needTools(t)
	lintian := realtool.Path(t, "lintian")
	deb := older().file(t, "*.deb")
	if printed := output(t, lintian, "--allow-root", "--fail-on", "none", "--suppress-tags",
		"bogus-mail-host,bogus-mail-host-in-debian-changelog", deb); printed != "" {
		t.Errorf("lintian says:\n%s", printed)
	}
	for _, list := range []string{output(t, "rpm", "-qpd", "--nosignature", older().file(t, "*.rpm")), output(t, "dpkg-deb", "-c", deb)} {
		for _, file := range []string{"copyright", "THIRD_PARTY_NOTICES", "README.md", "README.zh-CN.md", "CHANGELOG.md",
			"CHANGELOG.zh-CN.md", "examples/config.yaml"} {
			if !strings.Contains(list, "/usr/share/doc/dinggate/"+file) {
				t.Errorf("a package has no document %s:\n%s", file, list)
			}
		}
	}
}

// packages is a folder with the packages of both versions.
func packages(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, b := range []built{older(), newer()} {
		for _, pattern := range []string{"*.deb", "*.rpm"} {
			file := b.file(t, pattern)
			output(t, "cp", file, filepath.Join(dir, filepath.Base(file)))
		}
	}
	return dir
}

// signIn goes through the sign-in as a browser does, and prints what is behind it.
const signIn = `cd /tmp
page=$(curl -sS -L -b jar -c jar -o /dev/null -w '%{url_effective}' -H 'Accept: text/html' \
  -H 'Sec-Fetch-Mode: navigate' -H 'Sec-Fetch-Dest: document' http://127.0.0.1:4180/)
curl -sS -L -b jar -c jar -o page -w '%{http_code} ' -H 'Accept: text/html' -H 'Sec-Fetch-Mode: navigate' -H 'Sec-Fetch-Dest: document' "$page&person=zhangsan"
curl -sS -b jar -H 'Accept: application/json' http://127.0.0.1:4180/oauth2/userinfo`

func lifecycle(t *testing.T, m *machine, p packager) {
	printed := m.run("install", p.install+" /mnt/"+p.older)
	if !strings.Contains(printed, "complete /etc/dinggate/config.yaml") {
		t.Errorf("the installation does not say what comes next:\n%s", printed)
	}
	m.want("the version", "dinggate version | head -1", "dinggate v1.0.0")
	m.want("not started", "systemctl is-active dinggate || true", "inactive")
	m.want("not enabled", "systemctl is-enabled dinggate || true", "disabled")
	m.want("owners",
		"stat -c '%a %U %G %n' /etc/dinggate /etc/dinggate/conf.d /etc/dinggate/config.yaml /etc/dinggate/cookie-secret /usr/bin/dinggate",
		"750 root dinggate /etc/dinggate\n750 root dinggate /etc/dinggate/conf.d\n640 root dinggate /etc/dinggate/config.yaml\n640 root dinggate "+
			"/etc/dinggate/cookie-secret\n755 root root /usr/bin/dinggate")
	m.want("other users cannot read it",
		"setpriv --reuid nobody --clear-groups cat /etc/dinggate/config.yaml 2>&1 | grep -o denied", "denied")
	if printed, err := m.try("dinggate check"); err == nil || !strings.Contains(printed, "public_url") ||
		strings.Contains(printed, "cookie") {
		t.Errorf("dinggate check of the file as it is installed = %v:\n%s", err, printed)
	}

	// The five lines, and three that lead to the simulator instead of DingTalk.
	m.run("start a DingTalk", "systemd-run --quiet --unit simulator /usr/bin/dinggate simulate --listen 127.0.0.1:9000")
	m.run("complete the configuration",
		strings.NewReplacer("ID", simulator.DemoClientID, "SECRET", simulator.DemoClientSecret, "CORP",
			simulator.DemoCorpID).Replace(`
sed -i -e 's,^public_url: "",public_url: http://127.0.0.1:4180,' -e 's,^upstream: "",upstream: http://127.0.0.1:9000,' \
  -e 's,client_id: "",client_id: ID,' -e 's,client_secret: "",client_secret: SECRET,' -e 's,corp_id: "",corp_id: CORP,' \
  -e '/^dingtalk:/a\  login_url: http://127.0.0.1:9000\n  api_url: http://127.0.0.1:9000\n  oapi_url: http://127.0.0.1:9000' /etc/dinggate/config.yaml`))
	m.run("check", "dinggate check")
	m.run("enable and start", "systemctl enable --now dinggate")
	who := m.run("sign in", signIn)
	if !strings.Contains(who, `"zhangsan"`) {
		t.Errorf("after the sign-in userinfo says %s", who)
	}
	m.want("the user of the process", "ps -o user= -p $(systemctl show --value --property MainPID dinggate)",
		"dinggate")
	m.want("the state", "stat -c '%a %U' /var/lib/dinggate /var/lib/dinggate/dinggate.db", "700 dinggate\n600 dinggate")
	m.want("the logs' folder", "stat -c '%a %U' /var/log/dinggate", "750 dinggate")

	pid := "systemctl show --value --property MainPID dinggate"
	before, secret := m.run("its process", pid), m.run("its secret", "cat /etc/dinggate/cookie-secret")
	m.run("upgrade", p.install+" /mnt/"+p.newer)
	if after := m.run("its process", pid); after == before || after == "0" {
		t.Errorf("after the upgrade the process is %s, before %s", after, before)
	}
	m.want("the new version", "dinggate version | head -1", "dinggate v1.0.1")
	m.want("the same secret", "cat /etc/dinggate/cookie-secret", secret)
	m.want("still enabled", "systemctl is-enabled dinggate", "enabled")
	m.want("still signed in",
		"curl -sS -o /dev/null -w '%{http_code}' -b /tmp/jar http://127.0.0.1:4180/oauth2/userinfo", "200")
	m.want("the configuration is the user's",
		"grep -c '^public_url: http://127.0.0.1:4180' /etc/dinggate/config.yaml", "1")

	m.run("stop", "systemctl stop dinggate")
	m.run("upgrade while it is stopped", p.install+" /mnt/"+p.newer)
	m.want("still stopped", "systemctl is-active dinggate || true", "inactive")

	m.run("start", "systemctl start dinggate")
	m.run("remove", p.remove)
	m.want("gone",
		"systemctl is-active dinggate || true; test ! -e /usr/bin/dinggate && pgrep -x dinggate -u dinggate || "+
			"echo no process", "inactive\nno process")
	m.want("no dangling link", "find /etc/systemd/system -name 'dinggate*'", "")
	m.want("the secret stays", "cat /etc/dinggate/cookie-secret", secret)
}
