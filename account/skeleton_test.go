package account

import (
	"slices"
	"testing"
	"unicode/utf8"
)

// alike reports whether two names can be taken for each other.
func alike(a, b string) bool {
	looks := Looks(a)
	return slices.ContainsFunc(Looks(b), func(key string) bool { return slices.Contains(looks, key) })
}

func TestLooks(t *testing.T) { // threats T35
	for name, others := range map[string][]string{
		"alice": {"alice", "Alice", "ALICE", "ａｌｉｃｅ", "ＡＬＩＣＥ", "аlice", "alіce", "АLІСЕ", "ɑlice", "αlice", "𝐚𝐥𝐢𝐜𝐞",
			"𝓪𝓵𝓲𝓬𝓮", "ⓐⓛⓘⓒⓔ", "a1ice", "aIice", "a|ice", "AIice", "ALlCE", "alıce", "ali̇ce", "ALİCE",
			"al\u200bice", "\ufeffalice", "alice\u00ad", "al\u034fice", "a\u2060lice", "alice\ufe0f", " alice ",
			"alice\u00a0", "\u3164alice", "alice\u2800", "\u202ealice", "\u202eecila", "alic\u0435", "Alic\U000e0065e"},
		"admin": {"Admin", "ADMIN", "аdmin", "аdМin", "adrnin", "admın", "ADMlN", "admin\u200d", "ａdmin",
			"Ａｄｍｉｎ", "ΑDMIN", "ad\u00admin", "αdmin"},
		"root":       {"r00t", "rооt", "ROOT", "Rοοt", "roοt", "rഠഠt"},
		"zhang san":  {"zhang\u3000san", "Zhang  San", "zhang\tsan", "zhang\u2009san"},
		"张三":         {"张三", "张\u200b三", " 张三", "张⼆三"[:3] + "三"},
		"modem":      {"modern", "MODEM"},
		"straße":     {"STRASSE", "strasse"},
		"o'neil":     {"o’neil", "O＇Neil", "о´neil"},
		"user-1":     {"user‐1", "user–1", "USER-l", "user−1"},
		"管理员":        {"管理员", "管理员\ufe00"},
		"a.b_c@d.cn": {"A.B_C@D.CN", "a․b_c@d.cn"},
	} {
		for _, other := range others {
			if !alike(name, other) || !alike(other, name) {
				t.Errorf("%q and %q, looks %q and %q, are kept distinct", name, other, Looks(name), Looks(other))
			}
		}
	}
	for _, pair := range [][2]string{{"alice", "alicia"}, {"alice", "bob"}, {"zhangsan", "zhangsang"}, {"张三", "张二"},
		{"张三", "李三"}, {"lin", "lim"}, {"nan", "van"}, {"user1", "user2"}, {"wang.li", "wangli"}, {"a-b", "a_b"},
		{"admin", "admins"}, {"u10", "u11"},
		{"zhang san", "zhangsan"}, {"b", "ss"}, {"陈", "陳"}, {"chen", "cheng"}, {"é", "e"}, {"100", "101"}} {
		if alike(pair[0], pair[1]) {
			t.Errorf("%q and %q, looks %q and %q, are one", pair[0], pair[1], Looks(pair[0]), Looks(pair[1]))
		}
	}
}

// TestTableOfLooks: another table has other keys. Then Bindings.Renew of every
// store is to write new ones at start, as it does; this says which one it is.
func TestTableOfLooks(t *testing.T) {
	if got := LooksTable(); got != "a9fe2f07fc43ce7e" {
		t.Errorf("confusables.txt is %s", got)
	}
	for target, r := range map[string]rune{"l": '1', "O": '0', "rn": 'm', "a": 'а', "p": 'р'} {
		if got := confusables()[r]; got != target {
			t.Errorf("%q looks like %q, want %q", r, got, target)
		}
	}
	if n := len(confusables()); n < 5000 {
		t.Errorf("the table has %d characters", n)
	}
}

func FuzzLooks(f *testing.F) {
	f.Add("Ａlice\u200b")
	f.Add("\u202eадмин İ 〇")
	f.Fuzz(func(t *testing.T, name string) {
		looks := Looks(name)
		if len(looks) == 0 || len(looks) > 6 || !alike(name, name) {
			t.Fatalf("Looks(%q) = %q", name, looks)
		}
		if utf8.ValidString(name) && !alike(name, name+"\u200b") {
			t.Errorf("an invisible character makes another of %q", name)
		}
	})
}
