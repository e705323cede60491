package dingtalk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDepth bounds the nesting of an answer; DingTalk's answers stay below 8.
const maxDepth = 32

// errFormat is the root of every decode error. Their texts quote nothing of
// the answer: it may echo a token.
var errFormat = errors.New("unreadable answer")

func formatError(why string) error { return fmt.Errorf("%w: %s", errFormat, why) }

// decode decodes one JSON document into v. It is stricter than encoding/json:
// duplicate names, invalid UTF-8, nesting beyond maxDepth and trailing data are
// errors (threats D7, K11). Tolerance for the API's variations is in the flex
// types below and nowhere else.
func decode(data []byte, v any) error {
	if err := scan(data); err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		if errors.Is(err, errFormat) {
			return err
		}
		return formatError("a field of the wrong type")
	}
	return nil
}

// level is one open object or array of a document.
type level struct {
	names   map[string]bool // nil in an array
	wantKey bool
}

// scan checks the document in one pass without decoding it.
func scan(data []byte) error {
	if !utf8.Valid(data) {
		return formatError("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var open []level
	for first := true; first || len(open) > 0; first = false {
		token, err := d.Token()
		if err != nil {
			return formatError("not JSON, or cut off")
		}
		top := len(open) - 1
		if delim, ok := token.(json.Delim); ok {
			switch delim {
			case '{':
				open = append(open, level{names: map[string]bool{}, wantKey: true})
			case '[':
				open = append(open, level{})
			default:
				open = open[:top]
			}
			if len(open) > maxDepth {
				return formatError("nested too deep")
			}
			if delim == '{' || delim == '[' {
				continue
			}
		} else if top >= 0 && open[top].wantKey {
			name := fold(token.(string))
			if open[top].names[name] {
				return formatError("a doubled name")
			}
			open[top].names[name], open[top].wantKey = true, false
			continue
		}
		if n := len(open); n > 0 {
			open[n-1].wantKey = open[n-1].names != nil
		}
	}
	if _, err := d.Token(); err != io.EOF {
		return formatError("something after the document")
	}
	return nil
}

// fold maps a name to one spelling. encoding/json ignores the case of names, so
// `userid` and `USERID` are duplicates too.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}

// flexInt is a JSON integer, or a string of digits.
type flexInt int64

func (i *flexInt) UnmarshalJSON(data []byte) error {
	n, err := strconv.ParseInt(unquoted(data), 10, 64)
	if err != nil {
		return formatError("no number where one is due")
	}
	*i = flexInt(n)
	return nil
}

// flexBool is a JSON boolean, "true" or "false".
type flexBool bool

func (b *flexBool) UnmarshalJSON(data []byte) error {
	switch unquoted(data) {
	case "true":
		*b = true
	case "false":
		*b = false
	default:
		return formatError("no boolean where one is due")
	}
	return nil
}

// unquoted drops one pair of quotes. Escapes stay as they are: no number or
// boolean contains one.
func unquoted(data []byte) string {
	if n := len(data); n >= 2 && data[0] == '"' {
		return string(data[1 : n-1])
	}
	return string(data)
}

// flexList is a JSON array. null, "" and absence are the empty list; a single
// object is a list of one; a string that contains an array is that array.
type flexList[T any] []T

func (l *flexList[T]) UnmarshalJSON(data []byte) error {
	*l = nil
	if data[0] == '"' {
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return formatError("no list where one is due")
		}
		if text == "" {
			return nil
		}
		data = bytes.TrimLeft([]byte(text), " \t\r\n")
		if len(data) == 0 || data[0] != '[' {
			return formatError("no list where one is due")
		}
		if err := scan(data); err != nil { // the outer scan saw only a string
			return err
		}
	}
	if data[0] == '{' {
		data = bytes.Join([][]byte{{'['}, data, {']'}}, nil)
	}
	var elements []*T
	if err := json.Unmarshal(data, &elements); err != nil {
		return formatError("no list where one is due")
	}
	for _, e := range elements {
		if e == nil {
			return formatError("null inside a list")
		}
		*l = append(*l, *e)
	}
	return nil
}
