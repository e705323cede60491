package account

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
)

// Looks is what a name looks like to people, as keys: names that share one can be
// taken for each other (threats T35). `Alice`, `ａｌｉｃｅ`, `аlice` with a Cyrillic
// letter, `aIice` and `alice` with an invisible character all share one with
// `alice`; so do `modern` and `modem`. The keys are for comparing alone; there
// are a few of them.
//
//	name ─► without invisible characters ─► as it is, in small and in capital letters ─► skeletons (UTS #39) ─► keys
//
// Small and capital letters have looks of their own (I looks like l, i does not),
// which is why all three spellings count.
//
// A new table, of a newer Unicode, changes keys: stores that keep them bring
// theirs up to date at start (Bindings.Renew).
func Looks(name string) []string {
	backwards := strings.ContainsAny(name, "\u202b\u202e\u2067") // then a part of it is drawn from right to left
	name = strings.Join(strings.Fields(plain(name)), " ")
	keys := make([]string, 0, 3)
	for _, spelling := range [...]string{name, lower(name), strings.ToUpper(name)} {
		keys = append(keys, lower(skeleton(spelling)))
		if backwards {
			letters := []rune(spelling)
			slices.Reverse(letters)
			keys = append(keys, lower(skeleton(string(letters))))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// plain has each character as the one that it is a form of: ａ and ⓐ are a. Accents
// that stand alone stay, whose forms begin with a blank.
func plain(name string) string {
	var out strings.Builder
	for _, r := range strings.Map(visible, name) {
		if form := norm.NFKC.String(string(r)); form[0] == ' ' {
			out.WriteRune(r)
		} else {
			out.WriteString(form)
		}
	}
	return norm.NFC.String(out.String())
}

// visible drops what is not drawn: zero-width characters, marks of direction and
// variation, soft hyphens, controls.
func visible(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return ' '
	case r == '\u2800' ||
		unicode.In(r, unicode.Cf, unicode.Cc, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
		return -1
	}
	return r
}

// folding is what precis does to usernames (RFC 8265), of a class that takes
// blanks and symbols too.
var folding = precis.NewFreeform(precis.FoldWidth, precis.FoldCase(), precis.Norm(norm.NFC))

// lower is a name in small letters: by precis, and where that refuses it, by its
// steps alone.
func lower(s string) string {
	folded, err := folding.String(s)
	if err != nil {
		folded = norm.NFC.String(cases.Fold().String(s))
	}
	return folded
}

// skeleton maps each character to the one that it looks like. A dot above i, j
// or l is not seen beside the letter's own.
func skeleton(s string) string {
	table := confusables()
	var out strings.Builder
	last := rune(0)
	for _, r := range norm.NFD.String(s) {
		if r == '\u0307' && (last == 'i' || last == 'j' || last == 'l' || last == 'I') {
			continue
		}
		if last = r; table[r] != "" {
			out.WriteString(table[r])
		} else {
			out.WriteRune(r)
		}
	}
	return norm.NFD.String(out.String())
}

// LooksTable names the table that Looks goes by.
func LooksTable() string {
	sum := sha256.Sum256([]byte(confusablesText))
	return hex.EncodeToString(sum[:8])
}

// confusablesText is the table of UTS #39; scripts/confusables writes it.
//
//go:embed confusables.txt
var confusablesText string

// confusables reads the table on first use.
var confusables = sync.OnceValue(func() map[rune]string {
	table := make(map[rune]string, 6000)
	for line := range strings.Lines(confusablesText) {
		target, sources, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		if !ok {
			continue // a comment
		}
		looks := text(target)
		for _, r := range text(sources) {
			table[r] = looks
		}
	}
	return table
})

// text reads characters in hexadecimal; the table is our own.
func text(points string) string {
	var out strings.Builder
	for point := range strings.FieldsSeq(points) {
		r, err := strconv.ParseUint(point, 16, 21)
		if err != nil {
			panic("account: confusables.txt: " + err.Error())
		}
		out.WriteRune(rune(r))
	}
	return out.String()
}
