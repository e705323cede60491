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

	// The cost of one attempt doubles with each step: 14 is about a second. Below 10,
	// the passwords of a stolen file are guessed quickly.
	maxCost  = 14
	goodCost = 10
)

// accounts are the hashes of one reading of the file. Immutable.
type accounts struct {
	hashes map[string][]byte
	proofs map[string]proof
	looks  func() map[string]string // key of Looks → a name that has it; computed on first use
	cost   int                      // the greatest cost: what every attempt takes
}

// parseHtpasswd parses `name:hash` lines; blank lines and lines that begin with #
// are ignored. The error names every bad line; if it is not nil, the accounts must
// not be used. It quotes no hash.
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
			wrong = conf.Textf("repeats the account of line %d", at)
		}
		if wrong.IsZero() && len(all.hashes) == maxAccounts {
			wrong = conf.Textf("is above the limit of 10000 accounts")
		}
		if !wrong.IsZero() {
			found = append(found, conf.Problem{Line: n, Text: wrong})
			continue
		}
		if cost < goodCost {
			found = append(found, conf.Problem{
				Line: n,
				Text: conf.Textf(
					"has a hash of cost %d, which is weak; generate a stronger one with htpasswd -B -C %d", cost,
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
	// bcrypt only: the other formats of htpasswd can be guessed at millions per second.
	const letters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(hash) != 60 || hash[:2] != "$2" || !strings.ContainsRune("aby", rune(hash[2])) || hash[3] != '$' ||
		hash[6] != '$' || strings.Trim(hash[7:], letters) != "" {
		return "", "", 0, conf.Textf("has no bcrypt hash; generate one with htpasswd -B")
	}
	cost, err := bcrypt.Cost([]byte(hash))
	if err != nil {
		return "", "", 0, conf.Textf("has no bcrypt hash; generate one with htpasswd -B")
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

// CheckHtpasswd reports the problems of an htpasswd file: every bad or weak line.
func CheckHtpasswd(text []byte) []conf.Problem {
	all, found := parseHtpasswd(text)
	if all != nil {
		found = append(found, all.alike()...)
	}
	if all != nil && len(all.hashes) == 0 && len(found) == 0 {
		found = append(found, conf.Problem{Text: conf.Textf("contains no account"), Warning: true})
	}
	return found
}

// alike reports accounts whose names people can mistake for each other.
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
				Text: conf.Textf("has the accounts %s and %s, which look alike and are easily confused",
					strconv.QuoteToASCII(other), strconv.QuoteToASCII(name)),
				Warning: true,
			})
		}
	}
	return found
}

// mistakes returns every bad line as one error, nil if there is none.
func mistakes(found []conf.Problem) error {
	var all []error
	for _, p := range found {
		if !p.Warning {
			all = append(all, fmt.Errorf("line %d %s", p.Line, p.Text))
		}
	}
	return errors.Join(all...)
}

// verify takes the same time for every name and password (threats T6).
func (a *accounts) verify(name, password string) bool {
	right := false
	for i, hash := range a.compared(name) {
		same := bcrypt.CompareHashAndPassword(hash, []byte(password)) == nil
		right = right || same && i == 0
	}
	_, known := a.hashes[name]
	return right && known
}

// compared lists the hashes that an attempt for name is compared with, its own
// first. Together they cost as much as the most expensive hash of the file:
// 2ᶜ and all powers from 2ᶜ below 2ᵐ add up to 2ᵐ.
func (a *accounts) compared(name string) [][]byte {
	hash, known := a.hashes[name]
	if !known {
		return [][]byte{dummyHash(a.cost)}
	}
	list := [][]byte{hash}
	if cost, err := bcrypt.Cost(hash); err == nil {
		for ; cost < a.cost; cost++ {
			list = append(list, dummyHash(cost))
		}
	}
	return list
}

// dummyHash returns a hash of the given cost that matches no password.
func dummyHash(cost int) []byte {
	return fmt.Appendf(nil, "$2b$%02d$%s", cost, strings.Repeat(".", 53))
}
