package account

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"dinggate/internal/conf"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxFile     = 1 << 20 // bytes of an htpasswd file
	maxAccounts = 10_000

	// The work of one try doubles with each step: 14 is about a second. Below 10
	// a stolen file is soon guessed.
	maxCost  = 14
	goodCost = 10
)

// accounts are the hashes of one reading of the file. Immutable.
type accounts struct {
	hashes map[string][]byte
	proofs map[string]proof
	looks  func() map[string]string // what the names look like, and one that does; worked out when it is asked for
	cost   int                      // the greatest of them: what every try costs
}

// parseHtpasswd reads `name:hash` lines; a blank line and one that begins with
// # say nothing. It reports every bad line; only without one the accounts are
// worth anything. No hash is quoted.
func parseHtpasswd(text []byte) (*accounts, []conf.Problem) {
	if len(text) > maxFile {
		return nil, []conf.Problem{{Text: conf.Textf("is larger than 1 MiB")}}
	}
	var found []conf.Problem
	all := &accounts{hashes: map[string][]byte{}, cost: bcrypt.MinCost}
	all.looks = sync.OnceValue(all.look)
	first := map[string]int{}
	n := 0
	for line := range bytes.SplitSeq(bytes.TrimPrefix(text, bom), []byte("\n")) {
		n++
		entry := string(bytes.TrimSuffix(line, []byte("\r")))
		if strings.TrimSpace(entry) == "" || strings.HasPrefix(entry, "#") {
			continue
		}
		name, hash, cost, wrong := parseEntry(entry)
		if at := first[name]; wrong.IsZero() && at > 0 {
			wrong = conf.Textf("has the account of line %d again", at)
		}
		if wrong.IsZero() && len(all.hashes) == maxAccounts {
			wrong = conf.Textf("is one account too many; 10000 are the most")
		}
		if !wrong.IsZero() {
			found = append(found, conf.Problem{Line: n, Text: wrong})
			continue
		}
		if cost < goodCost {
			found = append(found, conf.Problem{
				Line: n,
				Text: conf.Textf(
					"has a hash of cost %d, which is soon guessed; htpasswd -B -C %d makes a better one", cost,
					goodCost,
				),
				Warning: true,
			})
		}
		first[name], all.hashes[name], all.cost = n, []byte(hash), max(all.cost, cost)
	}
	if len(all.hashes) == 0 {
		all.cost = goodCost
	}
	return all, found
}

func parseEntry(entry string) (name, hash string, cost int, wrong conf.Text) {
	name, hash, ok := strings.Cut(entry, ":")
	if !ok {
		return "", "", 0, conf.Textf("is not name:hash")
	}
	if wrong := wrongName(name); !wrong.IsZero() {
		return "", "", 0, wrong
	}
	// Nothing but bcrypt: what else htpasswd makes is guessed at millions a second.
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(hash) != 60 || hash[:2] != "$2" || !strings.ContainsRune("aby", rune(hash[2])) || hash[3] != '$' ||
		hash[6] != '$' || strings.Trim(hash[7:], letters) != "" {
		return "", "", 0, conf.Textf("has no bcrypt hash; htpasswd -B makes one")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return "", "", 0, conf.Textf("has no bcrypt hash; htpasswd -B makes one")
	}
	if cost > maxCost {
		return "", "", 0, conf.Textf("has a hash of cost %d; above %d a sign-in takes seconds", cost, maxCost)
	}
	return name, hash, cost, conf.Text{}
}

func (a *accounts) look() map[string]string {
	looks := make(map[string]string, 3*len(a.hashes))
	for name := range a.hashes {
		for _, key := range Looks(name) {
			looks[key] = name
		}
	}
	return looks
}

// CheckHtpasswd lists the problems of an htpasswd file: of each bad or weak line.
func CheckHtpasswd(text []byte) []conf.Problem {
	all, found := parseHtpasswd(text)
	if all != nil {
		found = append(found, all.alike()...)
	}
	if all != nil && len(all.hashes) == 0 && len(found) == 0 {
		found = append(found, conf.Problem{Text: conf.Textf("holds no account"), Warning: true})
	}
	return found
}

// alike reports accounts whose names people take for each other.
func (a *accounts) alike() (found []conf.Problem) {
	first, names := map[string]string{}, slices.Sorted(maps.Keys(a.hashes))
	for _, name := range names {
		other := ""
		for _, key := range Looks(name) {
			if other == "" {
				other = first[key]
			}
			if first[key] == "" {
				first[key] = name
			}
		}
		if other != "" {
			found = append(found, conf.Problem{
				Text: conf.Textf("has the accounts %s and %s, which look alike: people take one for the other",
					strconv.QuoteToASCII(other), strconv.QuoteToASCII(name)),
				Warning: true,
			})
		}
	}
	return found
}

// mistakes is every bad line as one error; nil without one.
func mistakes(found []conf.Problem) error {
	var all []error
	for _, p := range found {
		if !p.Warning {
			all = append(all, fmt.Errorf("line %d %s", p.Line, p.Text))
		}
	}
	return errors.Join(all...)
}

// verify does the same work whatever name and password are (threats T6).
func (a *accounts) verify(name, password string) bool {
	right := false
	for i, hash := range a.compared(name) {
		same := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
		right = right || same && i == 0
	}
	_, known := a.hashes[name]
	return right && known
}

// compared lists the hashes that a try for name is compared with, its own first:
// together they cost what the dearest of the file does, since 2ᶜ and all steps
// from 2ᶜ below 2ᵐ make 2ᵐ.
func (a *accounts) compared(name string) [][]byte {
	hash, known := a.hashes[name]
	if !known {
		return [][]byte{nobody(a.cost)}
	}
	list := [][]byte{hash}
	if cost, err := bcrypt.Cost(hash); err == nil {
		for ; cost < a.cost; cost++ {
			list = append(list, nobody(cost))
		}
	}
	return list
}

// nobody is a hash of the given cost that no password has.
func nobody(cost int) []byte {
	return fmt.Appendf(nil, "$2b$%02d$%s", cost, strings.Repeat(".", 53))
}
