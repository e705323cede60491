package hostile

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table of threats into docs/hostile.md")

// threatClass is a letter of the catalogue. The threats 1 to last all exist. more lists the
// numbers above last.
type threatClass struct {
	letter string
	last   int
	more   []int
}

// catalogue lists every known threat.
var catalogue = []threatClass{
	{"R", 18, nil},
	{"S", 23, nil},
	{"C", 17, nil},
	{"H", 17, []int{}},
	{"P", 20, []int{}},
	{"F", 14, nil},
	{"M", 16, []int{17, 18}},
	{"W", 11, []int{12, 13, 14}},
	{"T", 29, []int{30, 31, 32, 33, 34, 35, 36}},
	{"D", 11, []int{12, 13, 14}},
	{"L", 12, nil},
	{"K", 17, []int{18, 19}},
	{"V", 37, nil},
	{"E", 10, []int{16, 17, 18}},
	{"G", 6, nil},
}

// ids returns the threats of a class in order.
func (c threatClass) ids() (list []string) {
	for n := 1; n <= c.last; n++ {
		list = append(list, fmt.Sprint(c.letter, n))
	}
	for _, n := range slices.Sorted(slices.Values(c.more)) {
		list = append(list, fmt.Sprint(c.letter, n))
	}
	return list
}

// coveredBy names the test of a threat that no try's name begins with. The test is a pattern for
// the name of a try, or a test of another directory as "directory TestName".
var coveredBy = map[string]string{
	"R2": `start …\t//evil.test`, "R3": `start …javascript:`, "R4": `start …https://app.test@evil.test/`,
	"R6": `start …https://app.test:8443/`, "R7": `start …%0d%0a`, "R8": `…%252f%252fevil`,
	"R10": `…next=https://evil.test/`, "R12": "start …aaaaaaaaaaaaaaaaaaaa",
	"R13": `as the target "//evil.test/`,
	"S3":  "S1 S2 the attacker's link", "S12": `S7 "authCode=CODE&code=other`, "S14": "S1 S2 the attacker's link",
	"C2": "C5 ", "C8": "session TestRecheckInTheBackground", "C15": "session TestRecheckInTheBackground",
	"C17": "session TestStoreDumpIsUseless",
	"S20": "test/hostile TestHandOvers", "S21": "test/hostile TestHandOvers",
	"S22": "test/hostile TestHandOvers", "S23": "test/hostile TestHandOvers",
	"H3": `H1 signed in ["X-Forwarded-User:" "X-Forwarded-User: FORGED"`,
	"H6": `H1 anonymous ["X-Forwarded-For: FORGED"]`, "H7": `H1 anonymous ["Proxy: FORGED"]`,
	"H11": "proxy TestHostileDirectory", "H12": "proxy TestAnswerCleaned",
	"P2": "P1–P9 …%2f", "P3": "P1–P9 …%252f", "P4": "P1–P9 …;", "P5": "P1–P9 …%00", "P6": "P1–P9 …?x=/public/",
	"P7": `P1–P9 …"//`, "P8": "P1–P9 …PUBLIC",
	"F3": "F5 ", "F4": "P16 ", "F14": "proxy TestStoreFails",
	"W4": "cmd/dinggate/internal/server TestDrain", "T15": "T13 one final newline, T15", "T24": "cmd/dinggate/test/sso TestClientRemoved",
	"D7": "K4 K5", "D8": "session TestFitUser", "D11": "internal/web TestChain_Panics",
	"L3": "V19 /act/closes", "L4": `D9 "X-Request-Id`,
	"K13": "H15 ", "K17": "cmd/dinggate/test/signin TestSilentAfterSignOut",
	"V1": "dingtalk TestSlow", "V11": "session TestOneLookupForAllReplicas", "V12": "session TestLeaseHolderDies",
	"V14": "cmd/dinggate/test/fleet TestRedisDiesAndReturns", "V15": "store/redisstore TestFaults",
	"V16": "cmd/dinggate/test/fleet TestRedisEmptied", "V18": "S5 S8 from the future",
	"V34": "dingtalk TestMoves",
	"E3":  "E1 signed in", // and every response: oidcAnswer
	"G5":  "proxy/accessrequest TestBook_ForgedRecords",
	"E16": "oidc TestHangingReceiver", "E17": "oidc TestSubjects", "E18": "oidc TestSchedules",
}

// threats returns the entire catalogue in order.
func threats() (list []string) {
	for _, c := range catalogue {
		list = append(list, c.ids()...)
	}
	return list
}

var number = regexp.MustCompile(`^[A-Z][0-9]+$`)

// numbers returns the threats that a try's name begins with.
func numbers(name string) (list []string) {
	for word := range strings.FieldsSeq(name) {
		if !number.MatchString(word) {
			break
		}
		list = append(list, word)
	}
	return list
}

// minimums are the minimum numbers of tries of those threats for which a single try is not
// sufficient.
var minimums = map[string]int{
	"D12": 30,
	"E1":  1000,
	"E2":  60,
	"E6":  280,
	"E9":  100,
	"E10": 90,
	"G1":  150,
	"G2":  900,
	"G3":  200,
	"G4":  90,
	"G6":  100,
	"D13": 3,
	"D14": 3,
	"H16": 450,
	"H17": 200,
	"K18": 8,
	"K19": 4,
	"M18": 40,
	"P17": 2000,
	"P18": 1000,
	"P19": 450,
	"P20": 1300,
	"T30": 70,
	"T31": 35,
	"T32": 12,
	"T34": 3,
	"T35": 50,
	"T36": 8,
}

// uncovered returns the threats that have fewer tries than their minimum and no test in another
// directory.
func uncovered(names []string) (list []string) {
	tried := map[string]int{}
	for _, name := range names {
		for _, id := range numbers(name) {
			tried[id]++
		}
	}
	for _, id := range threats() {
		covering, listed := coveredBy[id]
		if tried[id] >= max(1, minimums[id]) ||
			listed && (inOtherPackage(covering) ||
				slices.ContainsFunc(names, func(name string) bool { return matches(name, covering) })) {
			continue
		}
		list = append(list, id)
	}
	return list
}

// matches reports whether a name matches the pattern. The name must begin with the text before the
// dots and contain the text after them.
func matches(name, covering string) bool {
	begin, part, _ := strings.Cut(covering, "…")
	return strings.HasPrefix(name, begin) && strings.Contains(name, part)
}

func inOtherPackage(covering string) bool {
	_, test, ok := strings.Cut(covering, " ")
	return ok && strings.HasPrefix(test, "Test")
}

// TestThreats checks that the table in docs/hostile.md matches the catalogue, and that the tests
// of other directories that it names exist.
func TestThreats(t *testing.T) {
	ids := threats()
	for id, covering := range coveredBy {
		if !slices.Contains(ids, id) {
			t.Errorf("%s is not in the catalogue", id)
		}
		if !inOtherPackage(covering) {
			continue
		}
		folder, test, _ := strings.Cut(covering, " ")
		if out, err := exec.Command("grep", "-l", "func "+test+"(", "-r", "--include=*_test.go",
			filepath.Join("..", "..", folder)).Output(); err != nil || len(out) == 0 {
			t.Errorf("%s is covered by %s, which does not exist", id, covering)
		}
	}
	for _, name := range []string{"hostile.md", "hostile.zh-CN.md"} {
		file := filepath.Join("..", "..", "docs", name)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		before, rest, ok := strings.Cut(string(text), "<!-- threats -->\n")
		_, after, ok2 := strings.Cut(rest, "<!-- end of threats -->\n")
		if !ok || !ok2 {
			t.Fatalf("%s has no markers for the table", name)
		}
		want := before + "<!-- threats -->\n" + table() + "<!-- end of threats -->\n" + after
		if want != string(text) {
			if !*update {
				t.Errorf("%s has another table; go test ./test/hostile -run TestThreats -update writes it", name)
			} else if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// table returns one row per class. A row lists the threats that are tried here and the threats
// that are tested beside their code.
func table() string {
	var b strings.Builder
	b.WriteString("| class | `make hostile` | `go test` |\n|---|---|---|\n")
	for _, c := range catalogue {
		var here, there []string
		for _, id := range c.ids() {
			if covering, listed := coveredBy[id]; listed && inOtherPackage(covering) {
				folder, test, _ := strings.Cut(covering, " ")
				there = append(there, fmt.Sprintf("%s `%s` in `%s`", id, test, folder))
			} else {
				here = append(here, id)
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", c.letter, ranges(here), strings.Join(there, "; "))
	}
	return b.String()
}

// ranges formats R1, R2, R3, R5 as R1–R3, R5.
func ranges(ids []string) string {
	var parts []string
	of := func(id string) (n int) { fmt.Sscan(id[1:], &n); return n }
	for i := 0; i < len(ids); {
		j := i
		for j+1 < len(ids) && of(ids[j+1]) == of(ids[j])+1 {
			j++
		}
		if parts = append(parts, ids[i]); j > i {
			parts[len(parts)-1] += "–" + ids[j]
		}
		i = j + 1
	}
	return strings.Join(parts, ", ")
}
