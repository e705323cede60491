package ratelimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

var errRate = errors.New("is not a rate such as 20/s, 30/m or 5/s burst 60")

// maxPart bounds the numbers of a rate's text.
const maxPart = 1_000_000

// UnmarshalText parses `N/s` or `N/m`, optionally followed by ` burst N`; the default is 30
// seconds' worth.
func (r *Rate) UnmarshalText(text []byte) error {
	fields := strings.Fields(string(text))
	if len(fields) != 1 && (len(fields) != 3 || fields[1] != "burst") {
		return errRate
	}
	number, unit, _ := strings.Cut(fields[0], "/")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > maxPart || number[0] == '+' {
		return errRate
	}
	made := Rate{}
	switch unit {
	case "s":
		made = Rate{Every: time.Second / time.Duration(n), Burst: 30 * n}
	case "m":
		made = Rate{Every: time.Minute / time.Duration(n), Burst: max(1, n/2)}
	default:
		return errRate
	}
	if len(fields) == 3 {
		if made.Burst, err = strconv.Atoi(fields[2]); err != nil || made.Burst < 1 || made.Burst > maxPart || fields[2][0] == '+' {
			return errRate
		}
	}
	*r = made
	return nil
}

// MarshalText is the inverse of UnmarshalText.
func (r Rate) MarshalText() ([]byte, error) {
	if r.Every <= 0 {
		return nil, nil
	}
	n, unit, usual := int((time.Second+r.Every/2)/r.Every), "s", 0
	if usual = 30 * n; r.Every > time.Second {
		n, unit = int((time.Minute+r.Every/2)/r.Every), "m"
		usual = max(1, n/2)
	}
	text := fmt.Sprintf("%d/%s", n, unit)
	if r.Burst != usual {
		text += fmt.Sprintf(" burst %d", r.Burst)
	}
	return []byte(text), nil
}

func (r Rate) String() string {
	text, _ := r.MarshalText()
	return string(text)
}
